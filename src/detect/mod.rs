//! Encoder frames to detections: window embeddings, cosine, phone path, fusion, trigger.

mod alone;
mod anchors;
mod keyword;
mod matcher;
mod path;
pub mod pool;
mod prefix;
mod scorer;
mod trigger;

pub(crate) use anchors::Anchors;
pub use anchors::nearest;
pub use keyword::{Embedding, Keyword, Pronunciation, dot};
pub use matcher::{FrameScore, Matcher, PATH_MEMORY, WindowEmbedder};
pub use path::PhonePaths;
pub(crate) use path::against_best;
pub use prefix::PrefixRing;
pub use scorer::{ScorerConfig, log_add, logit, sigmoid};
pub(crate) use trigger::REFRACTORY;
pub use trigger::{Peak, Trigger};
