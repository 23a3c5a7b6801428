//! Keywords as people write them, with the lexicon and the grapheme-to-phoneme model that ship.
#![cfg(feature = "tract")]

use kws_live::enrol::Enroller;
use kws_live::model::{BackendChoice, Bundle};
use kws_live::text::{KeywordSpec, Source};

/// The ways to say a text, and where each comes from.
fn said(enroller: &mut Enroller, text: &str) -> Vec<(String, Source)> {
    let ways = enroller.pronouncer().explain(&KeywordSpec::new(text)).expect("it can be said");
    let phones = |way: &kws_live::text::Said| way.phones.iter().map(|p| p.symbol()).collect::<Vec<_>>().join(" ");
    ways.iter().map(|way| (phones(way), way.source)).collect()
}

#[test]
fn keywords_are_said_as_people_say_them() {
    let bundle = Bundle::embedded().expect("the built-in model");
    let mut enroller = Enroller::new(&bundle, BackendChoice::default()).expect("a whole bundle");
    for (text, phones, source) in [
        ("AI", "EY AY", Source::Lexicon),
        ("GPUs", "JH IY P IY Y UW Z", Source::Letters),
        ("AT&T", "EY T IY AE N D T IY", Source::Lexicon),
        ("Wi-Fi", "W AY F AY", Source::Lexicon),
        ("Wall St.", "W AO L S T R IY T", Source::Lexicon),
        ("10:30am", "T EH N TH ER T IY EY EH M", Source::Lexicon),
        ("the 80s", "DH AH EY T IY Z", Source::Lexicon),
        ("£5", "F AY V P AW N D Z", Source::Lexicon),
        ("Alexa™", "AH L EH K S AH", Source::Lexicon),
        // Letters, and a word.
        ("COVID", "S IY OW V IY AY D IY", Source::Letters),
    ] {
        let ways = said(&mut enroller, text);
        assert!(ways.contains(&(phones.into(), source)), "{text}: {ways:?}");
    }
    let covid = said(&mut enroller, "COVID");
    assert!(covid.iter().any(|(phones, source)| *source == Source::Model && phones.ends_with("V IH D")), "{covid:?}");
    assert!(said(&mut enroller, "AI").iter().all(|(phones, _)| phones.contains(' ')));
}
