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
        ("1969", "N AY N T IY N S IH K S T IY N AY N", Source::Lexicon),
        ("1776", "S EH V AH N T IY N S EH V AH N T IY S IH K S", Source::Lexicon),
        ("911", "N AY N W AH N W AH N", Source::Lexicon),
        ("747", "S EH V AH N F AO R T IY S EH V AH N", Source::Lexicon),
        ("404", "F AO R OW F AO R", Source::Lexicon),
        ("2024", "T UW TH AW Z AH N D T W EH N T IY F AO R", Source::Lexicon),
        ("2024", "T UW TH AW Z AH N D AH N D T W EH N T IY F AO R", Source::Lexicon),
        ("555-1234", "F AY V F AY V F AY V W AH N T UW TH R IY F AO R", Source::Lexicon),
        ("May 1st!", "M EY F ER S T", Source::Lexicon),
        ("10:00 am", "T EH N EY EH M", Source::Lexicon),
        ("-10°C", "M AY N AH S T EH N D IH G R IY Z S EH L S IY AH S", Source::Lexicon),
        ("google.com", "G UW G AH L D AA T K AA M", Source::Lexicon),
        ("ChatGPT", "CH AE T JH IY P IY T IY", Source::Letters),
        ("FaceTime", "F EY S T AY M", Source::Lexicon),
        ("M&Ms", "EH M AH N D EH M Z", Source::Lexicon),
        ("C#", "S IY SH AA R P", Source::Lexicon),
        ("Ft. Worth", "F AO R T W ER TH", Source::Lexicon),
        ("Henry VIII", "HH EH N R IY DH AH EY T TH", Source::Lexicon),
        ("café", "K AH F EY", Source::Lexicon),
        // Letters, and a word.
        ("COVID", "S IY OW V IY AY D IY", Source::Letters),
    ] {
        let ways = said(&mut enroller, text);
        assert!(ways.contains(&(phones.into(), source)), "{text}: {ways:?}");
    }
    let covid = said(&mut enroller, "COVID");
    assert!(covid.iter().any(|(phones, source)| *source == Source::Model && phones.ends_with("V IH D")), "{covid:?}");
    assert!(said(&mut enroller, "AI").iter().all(|(phones, _)| phones.contains(' ')));

    // A way more costs a little of the score.
    for (text, most) in [("1984", 3), ("1776", 4), ("911", 6), ("360", 4)] {
        let ways = said(&mut enroller, text);
        assert!(ways.len() <= most, "{text}: {ways:?}");
    }
    for long in ["1984 and 2001", "555 1234"] {
        assert!(!said(&mut enroller, long).is_empty());
    }
}
