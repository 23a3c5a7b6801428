//! What windows are compared with: the embeddings of every way to say every keyword.

use std::ops::Range;

use super::keyword::{Keyword, dot};
use super::scorer::ScorerConfig;

/// One way to say a keyword.
pub(crate) struct Entry {
    /// Which lengths to compare, places in [`ScorerConfig::window_frames`].
    pub windows: Range<usize>,
    /// [`ScorerConfig::offset`].
    pub offset: f32,
}

/// All of them, keyword by keyword.
pub(crate) struct Anchors {
    dim: usize,
    entries: Vec<Entry>,
    /// `[entries, D]`.
    embeddings: Vec<f32>,
    /// One past the last entry of each keyword.
    ends: Vec<usize>,
}

impl Anchors {
    /// None yet, of embeddings of size `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim, entries: Vec::new(), embeddings: Vec::new(), ends: Vec::new() }
    }

    /// Replaces them.
    ///
    /// # Panics
    /// If the embeddings of one have not the size of the model's.
    pub fn set<'a>(&mut self, keywords: impl Iterator<Item = &'a Keyword>, scorer: &ScorerConfig, frame_seconds: f32) {
        self.entries.clear();
        self.embeddings.clear();
        self.ends.clear();
        for keyword in keywords {
            for pronunciation in &keyword.pronunciations {
                let phones = pronunciation.phones.len().max(1);
                let windows = scorer.windows_for(phones, pronunciation.frames, frame_seconds);
                let embedding = pronunciation.embedding.values();
                assert_eq!(embedding.len(), self.dim, "`{}` was enrolled with another model", keyword.name);
                self.embeddings.extend_from_slice(embedding);
                self.entries.push(Entry { windows, offset: scorer.offset(keyword, pronunciation) });
            }
            self.ends.push(self.entries.len());
        }
    }

    /// The entries of all keywords, one after another.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The places of each keyword's entries.
    pub fn keywords(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let from = |keyword: usize| if keyword == 0 { 0 } else { self.ends[keyword - 1] };
        self.ends.iter().enumerate().map(move |(keyword, &end)| from(keyword)..end)
    }

    /// The lengths that some entry compares, from the shortest to the longest.
    pub fn windows(&self) -> Range<usize> {
        let first = self.entries.iter().map(|e| e.windows.start).min().unwrap_or(0);
        first..self.entries.iter().map(|e| e.windows.end).max().unwrap_or(0)
    }

    /// Cosine and length of the window that is nearest to an entry, of those that `window` has (`[D]`, unit norm).
    pub fn nearest<'a>(&self, entry: usize, window: impl Fn(usize) -> Option<&'a [f32]>) -> Option<(f32, usize)> {
        let anchor = &self.embeddings[entry * self.dim..(entry + 1) * self.dim];
        nearest(anchor, self.entries[entry].windows.clone(), window)
    }
}

/// Cosine and place of the first of the windows at `places` that are nearest to `anchor`; those that `window` has not are left out.
pub fn nearest<'a>(
    anchor: &[f32],
    places: Range<usize>,
    window: impl Fn(usize) -> Option<&'a [f32]>,
) -> Option<(f32, usize)> {
    let mut best = None;
    for place in places {
        let Some(window) = window(place) else { continue };
        let cosine = dot(anchor, window);
        if best.is_none_or(|(most, _)| cosine > most) {
            best = Some((cosine, place));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_nearest_windows_is_taken_of_those_there_are() {
        let windows = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 1.0]];
        let all = |place: usize| windows.get(place).map(<[f32; 2]>::as_slice);
        assert_eq!(nearest(&[0.0, 1.0], 0..4, all), Some((1.0, 1)));
        assert_eq!(nearest(&[0.0, 1.0], 2..9, all), Some((1.0, 3)));
        assert_eq!(nearest(&[-1.0, 0.0], 0..1, all), Some((-1.0, 0)));
        assert_eq!(nearest(&[0.0, 1.0], 4..9, all), None);
    }
}
