//! `--keywords`: from the text to the phones, as far as the lexicon and the rules go.
#![no_main]

use std::cell::RefCell;

use kws_live::text::{Lexicon, Pronouncer, parse_keywords, parse_phones};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PRONOUNCER: RefCell<Pronouncer> = RefCell::new(Pronouncer::new(
        Lexicon::from_bytes(include_bytes!("../../../models/default/lexicon.bin")).expect("the shipped lexicon"),
        None,
    ));
}

fuzz_target!(|text: &str| {
    let _ = parse_phones(text);
    for spec in parse_keywords(text).unwrap_or_default() {
        let _ = PRONOUNCER.with_borrow_mut(|p| p.explain(&spec).map(drop).and(p.resolve(&spec).map(drop)));
    }
});
