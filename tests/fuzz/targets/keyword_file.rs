//! `--keywords-file`.
#![no_main]

use kws_live::text::{keyword_lists, parse_keywords};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(lists) = keyword_lists(text) {
        // What each line passed, all together pass as well, as far as they do not contradict each other.
        let lists: Vec<&str> = lists.into_iter().map(|(_, list)| list).collect();
        let _ = parse_keywords(&lists.join(", "));
    }
});
