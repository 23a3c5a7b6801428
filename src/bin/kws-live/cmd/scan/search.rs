//! `scan --search`: places out of all files, decided and ordered when the last one has been heard.

use std::sync::Arc;

use kws_live::detect::ScorerConfig;
use kws_live::engine::seconds;
use kws_live::search::relevance;
use kws_live::spotter::Detection;

use crate::output::Record;

/// What may be a keyword, and in which file.
struct Place {
    hit: Detection,
    file: Arc<str>,
}

/// Places of every keyword in what has been searched so far.
pub struct Search {
    scorer: ScorerConfig,
    /// Relevance that counts as found.
    least: f32,
    names: Vec<String>,
    places: Vec<Vec<Place>>,
    /// Audio searched, samples at 16 kHz.
    searched: u64,
}

impl Search {
    /// A search for keywords by name, in the order in which results are wanted.
    pub fn new(names: Vec<String>, scorer: ScorerConfig, sensitivity: f32) -> Self {
        let least = scorer.threshold_at(sensitivity);
        Self { places: names.iter().map(|_| Vec::new()).collect(), names, scorer, least, searched: 0 }
    }

    /// Adds what one file gave.
    pub fn add(&mut self, file: &str, hits: Vec<Detection>, samples: u64) {
        self.searched += samples;
        let file: Arc<str> = file.into();
        for hit in hits {
            if let Some(index) = self.names.iter().position(|n| **n == *hit.name) {
                self.places[index].push(Place { hit, file: Arc::clone(&file) });
            }
        }
    }

    /// What was found: keyword by keyword, the most relevant place first.
    pub fn found(self) -> Vec<Record> {
        let searched = seconds(self.searched);
        let mut out = Vec::new();
        for mut places in self.places {
            let scores: Vec<f32> = places.iter().map(|p| p.hit.score).collect();
            let mut order: Vec<(f32, Place)> =
                relevance(&scores, &self.scorer, searched).into_iter().zip(places.drain(..)).collect();
            order.retain(|(relevance, _)| *relevance >= self.least);
            // A stable sort: what is equally relevant stays in the order of the files.
            order.sort_by(|a, b| b.0.total_cmp(&a.0));
            out.extend(order.into_iter().map(|(relevance, place)| {
                let span = (place.hit.start, place.hit.end);
                Record::new("found", &place.hit.name, relevance, span, Some(&place.file))
            }));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kws_live::spotter::KeywordId;

    fn hit(name: &str, score: f32) -> Detection {
        Detection { keyword: KeywordId(0), name: name.into(), score, start: 16_000, end: 32_000, emitted: 40_000 }
    }

    #[test]
    fn keywords_in_their_order_and_the_most_relevant_place_first() {
        let mut search = Search::new(vec!["water".into(), "table".into()], ScorerConfig::default(), 0.5);
        search.add("a.wav", vec![hit("table", 0.9), hit("water", 0.2), hit("water", 0.7)], 16_000 * 3_000);
        search.add("b.wav", vec![hit("water", 0.95)], 16_000 * 3_000);
        let found = search.found();
        let lines: Vec<_> = found.iter().map(|r| (r.keyword.as_str(), r.file.as_deref().unwrap_or_default())).collect();
        assert_eq!(lines[..2], [("water", "b.wav"), ("water", "a.wav")]);
        assert_eq!(lines.last(), Some(&("table", "a.wav")));
        assert!(found[0].score > found[1].score);
        assert!(found.iter().all(|r| r.kind == "found" && r.start == 1.0 && r.end == 2.0));
    }
}
