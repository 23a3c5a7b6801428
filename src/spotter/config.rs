//! How a spotter listens.

use crate::model::BackendChoice;

/// How to listen.
#[derive(Debug, Clone, PartialEq)]
pub struct SpotterConfig {
    /// Backend and provider.
    pub choice: BackendChoice,
    /// 0 (deaf) to 1 (jumpy); 0.5 is the model's own operating point.
    pub sensitivity: f32,
    /// Score threshold for all keywords, overriding the sensitivity.
    pub threshold: Option<f32>,
    /// Scored frames (30 ms; 50 ms for a `jmcl` model) a run of the model: 4 live, 100 for files. Results do not depend on it.
    pub chunk_frames: usize,
    /// Whether the model may rest where nothing happens. It is woken up in time, and knows then what it would have known.
    pub gate: bool,
    /// Whether common words compete with the keywords, where the model has learned to weigh them ([`crate::words`]): for
    /// searches. They order the places of a keyword better, but one threshold for all keywords fits no better than without: scores are
    /// then probabilities ([`ScorerConfig::contest`](crate::detect::ScorerConfig::contest)), to be judged by [`crate::search`]. What follows a word
    /// has to be heard before it is judged: scores come [`crate::words::AHEAD`] frames later. A search has time: detections are all places
    /// over the threshold that no higher one lies near ([`crate::search::highest`]), come seconds later, and keywords do not
    /// explain one another.
    pub rivals: bool,
    /// Sensitivity whose threshold makes a near miss, for [`Spotter::near_misses`](super::Spotter::near_misses); `None` looks for none.
    pub near: Option<f32>,
}

impl Default for SpotterConfig {
    fn default() -> Self {
        Self {
            choice: BackendChoice::default(),
            sensitivity: 0.5,
            threshold: None,
            chunk_frames: 4,
            gate: false,
            rivals: false,
            near: None,
        }
    }
}
