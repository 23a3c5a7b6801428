//! The answer to describe.

use serde_json::{Value, json};

use super::hub::Listed;

/// One program of the wake section, with a model for each keyword; what is said here is what Home Assistant shows.
pub fn info(model: &str, keywords: &[Listed]) -> Value {
    let attribution = json!({ "name": env!("CARGO_PKG_AUTHORS"), "url": "" });
    let version = env!("CARGO_PKG_VERSION");
    let models: Vec<Value> = keywords
        .iter()
        .map(|listed| {
            let name = &*listed.name;
            json!({
                "name": name,
                "description": name,
                "phrase": name,
                "languages": ["en"],
                "attribution": attribution,
                "installed": true,
                "version": version,
            })
        })
        .collect();
    let program = json!({
        "name": env!("CARGO_PKG_NAME"),
        "description": format!("{} Model: {model}.", env!("CARGO_PKG_DESCRIPTION")),
        "attribution": attribution,
        "installed": true,
        "version": version,
        "models": models,
    });
    json!({ "asr": [], "tts": [], "handle": [], "intent": [], "wake": [program], "mic": [], "snd": [] })
}
