//! What the synthesisers say: short sentences around words that the recorded speech lacks.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use rand::Rng;
use rand::rngs::SmallRng;

/// Names that machines go by, and words of their world.
const NAMES: [&str; 48] = [
    "alexa",
    "jarvis",
    "siri",
    "cortana",
    "computer",
    "alfred",
    "friday",
    "merlin",
    "pandora",
    "athena",
    "apollo",
    "hermes",
    "phoenix",
    "nova",
    "echo",
    "samantha",
    "sebastian",
    "winston",
    "oscar",
    "stella",
    "luna",
    "atlas",
    "orion",
    "galaxy",
    "robot",
    "butler",
    "captain",
    "genie",
    "mycroft",
    "snowboy",
    "bumblebee",
    "grasshopper",
    "blueberry",
    "porcupine",
    "terminator",
    "americano",
    "picovoice",
    "raspberry",
    "assistant",
    "companion",
    "mirror",
    "lantern",
    "hello",
    "watson",
    "vector",
    "buddy",
    "oracle",
    "wizard",
];

/// Commands; said inside sentences only, never alone (data/README.md).
const COMMANDS: [&str; 26] = [
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "open", "close", "start", "pause", "play",
    "next", "back", "louder", "quieter", "light", "volume", "timer", "music", "weather", "lamp", "heating",
];

/// `N` a name, `C` a command, `W` a drawn word.
const FRAMES: [&str; 36] = [
    "W, W and W",
    "W and W",
    "W, W, W, W",
    "the W of W",
    "a W for the W",
    "please say W again",
    "the next word is W",
    "I said W, not W",
    "W comes before W",
    "my friend W likes W",
    "she wrote W and W on the wall",
    "he asked about W and W",
    "we heard W from W",
    "there is no W in W",
    "have you seen W near W",
    "N, what is W",
    "hey N, tell me about W",
    "N, call W please",
    "okay N, look for W and W",
    "I asked N for the W",
    "N and W",
    "is N at home with W",
    "hello N, this is W",
    "turn C the W",
    "then go C and C to W",
    "N, C the W",
    "press C for W and C for W",
    "say C or C",
    "they went C, then C, then C",
    "W means C and W means C",
    "is it C or is it C, N",
    "first C, then W, then C",
    "the sign says C at W",
    "switch the W C and the W C",
    "do not say C to W",
    "N, please C now",
];

/// A vocabulary with the chance of each word.
pub struct Script {
    words: Vec<String>,
    /// Running sums of the chances.
    sums: Vec<f64>,
}

impl Script {
    /// Takes the words of a dictionary; `counts` says how often each was recorded already.
    ///
    /// A word that was never recorded is drawn as often as one recorded once or twice together with all the other
    /// unheard ones allows: chances fall as `1 / (1 + count)`, and unheard words, most of them surnames, share half.
    ///
    /// # Errors
    /// If no word is fit to be said.
    pub fn new<'a>(dictionary: impl IntoIterator<Item = &'a str>, counts: &HashMap<String, u32>) -> Result<Self> {
        let fit = |w: &&str| w.len() >= 3 && w.len() <= 14 && w.bytes().all(|b| b.is_ascii_lowercase());
        let mut words: Vec<&str> = dictionary.into_iter().filter(fit).collect();
        words.sort_unstable();
        words.dedup();
        ensure!(!words.is_empty(), "the dictionary holds no word of 3 to 14 letters");
        let count = |w: &str| counts.get(w).copied().unwrap_or(0);
        let heard: f64 = words.iter().map(|w| count(w)).filter(|&c| c > 0).map(|c| 1.0 / f64::from(1 + c)).sum();
        let unheard = words.iter().filter(|w| count(w) == 0).count().max(1) as f64;
        let mut sum = 0.0;
        let sums = words
            .iter()
            .map(|w| {
                sum += match count(w) {
                    0 if heard > 0.0 => heard / unheard,
                    0 => 1.0,
                    c => 1.0 / f64::from(1 + c),
                };
                sum
            })
            .collect();
        Ok(Self { words: words.into_iter().map(str::to_owned).collect(), sums })
    }

    fn word(&self, rng: &mut SmallRng) -> &str {
        let at = rng.random::<f64>() * self.sums.last().copied().unwrap_or(0.0);
        let index = self.sums.partition_point(|&s| s <= at);
        &self.words[index.min(self.words.len() - 1)]
    }

    /// A sentence as it is given to a synthesiser.
    pub fn sentence(&self, rng: &mut SmallRng) -> String {
        // Plain lists carry the most new words in a second.
        let frame = if rng.random::<f32>() < 0.35 {
            FRAMES[rng.random_range(0..5)]
        } else {
            FRAMES[rng.random_range(5..FRAMES.len())]
        };
        let mut out = String::new();
        for part in frame.split_inclusive(' ') {
            let slot = part.trim_end_matches([',', ' ']);
            let filled = match slot {
                "W" => self.word(rng),
                "N" => NAMES[rng.random_range(0..NAMES.len())],
                "C" => COMMANDS[rng.random_range(0..COMMANDS.len())],
                _ => slot,
            };
            out.push_str(filled);
            out.push_str(&part[slot.len()..]);
        }
        out
    }
}

/// The words of a sentence as a manifest has them: lower case, no punctuation.
pub fn plain(sentence: &str) -> String {
    let bare = |w: &str| w.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_lowercase();
    sentence.split_whitespace().map(bare).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn rare_words_are_said_more_often() {
        let counts = HashMap::from([("common".to_owned(), 999), ("seldom".to_owned(), 1)]);
        let script = Script::new(["common", "seldom", "unheard", "x", "o'hara"], &counts).expect("words");
        let mut rng = SmallRng::seed_from_u64(1);
        let said: Vec<&str> = (0..4_000).map(|_| script.word(&mut rng)).collect();
        let count = |w| said.iter().filter(|s| **s == w).count();
        assert!(count("common") < 30 && count("seldom") > 1_500 && count("unheard") > 1_500);
    }

    #[test]
    fn commands_and_names_never_stand_alone() {
        let script = Script::new(["zebra"], &HashMap::new()).expect("a word");
        let mut rng = SmallRng::seed_from_u64(2);
        for _ in 0..500 {
            let sentence = plain(&script.sentence(&mut rng));
            assert!(sentence.split(' ').count() >= 3 || sentence.contains("zebra"), "{sentence}");
            assert!(sentence.bytes().all(|b| b.is_ascii_lowercase() || b == b' '), "{sentence}");
        }
    }
}
