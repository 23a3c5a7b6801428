//! Names: topics, and what Home Assistant is told of each keyword.
//!
//! ```text
//! BASE/availability             online | offline (retained; the broker says offline for a program that died)
//! BASE/detection                every event
//! BASE/detection/KEYWORD        those of one keyword
//! PREFIX/event/NODE/KEYWORD/config   retained: an event entity for Home Assistant
//! ```

use kws_live::text::in_ascii;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The one kind of event that an entity can have.
pub const EVENT: &str = "detected";

/// Letters of a keyword that a topic shows.
const LONGEST: usize = 40;

/// Where everything goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    base: String,
    /// Below it Home Assistant looks for devices; `None` if it is not told.
    discovery: Option<String>,
    /// `base` as one word: the name of the client and of the device.
    node: String,
}

impl Topics {
    /// Without a base it is named after this machine.
    pub fn new(base: Option<&str>, discovery: &str) -> Self {
        let base = base.map_or_else(|| format!("kws-live/{}", slug(&machine())), str::to_owned);
        let discovery = (discovery != "off").then(|| discovery.to_owned());
        Self { node: node(&base), base, discovery }
    }

    /// What all topics begin with.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The name of the client, the same after a restart: the broker then ends the connection that was before, and what
    /// that one leaves behind (`offline`) comes before what the new one says.
    pub fn client(&self) -> String {
        let node = if self.node.starts_with("kws") { self.node.clone() } else { format!("kws-live_{}", self.node) };
        // Brokers may refuse more than 23 letters, and none does in practice; 64 is what MQTT libraries try.
        node.chars().take(64).collect()
    }

    /// Whether the program is there.
    pub fn availability(&self) -> String {
        format!("{}/availability", self.base)
    }

    /// All events.
    pub fn detection(&self) -> String {
        format!("{}/detection", self.base)
    }

    /// The events of one keyword.
    pub fn keyword(&self, keyword: &str) -> String {
        format!("{}/detection/{}", self.base, slug(keyword))
    }

    /// What an entity is made by; `None` if nobody is told.
    pub fn config(&self, keyword: &str) -> Option<String> {
        self.discovery.as_ref().map(|prefix| format!("{prefix}/event/{}/{}/config", self.node, slug(keyword)))
    }

    /// Filters to know what was announced before and when Home Assistant starts.
    pub fn filters(&self) -> Vec<String> {
        let Some(prefix) = &self.discovery else { return Vec::new() };
        vec![birth(prefix), format!("{prefix}/event/{}/+/config", self.node)]
    }

    /// Whether a message says that Home Assistant has started.
    pub fn is_birth(&self, topic: &str, payload: &[u8]) -> bool {
        self.discovery.as_ref().is_some_and(|prefix| topic == birth(prefix)) && payload == b"online"
    }

    /// An event entity, as Home Assistant's MQTT discovery wants it.
    pub fn entity(&self, keyword: &str, model: &str) -> String {
        let version = env!("CARGO_PKG_VERSION");
        json!({
            "name": keyword,
            "unique_id": format!("{}_{}", self.node, slug(keyword)),
            "state_topic": self.keyword(keyword),
            "event_types": [EVENT],
            "availability_topic": self.availability(),
            "qos": 1,
            "icon": "mdi:ear-hearing",
            "device": {
                "identifiers": [self.node],
                "name": self.base.replace('/', " "),
                "manufacturer": "kws-live",
                "model": model,
                "sw_version": version,
            },
            "origin": { "name": "kws-live", "sw_version": version },
        })
        .to_string()
    }
}

/// Where Home Assistant says `online` when it has started.
fn birth(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// A topic as one word: topics tell capitals and blanks apart, unlike keywords.
fn node(base: &str) -> String {
    let plain = slug(&base.replace('/', " "));
    if base.contains(' ') || base.to_lowercase() != base { format!("{plain}_{}", hash(base)) } else { plain }
}

/// A name of small letters, digits and `_`, which stands for this one and no other: where letters are lost, a few digits of a
/// hash follow.
fn slug(name: &str) -> String {
    let name = name.to_lowercase();
    let plain: String = in_ascii(&name)
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .take(LONGEST)
        .collect();
    if plain.replace('_', " ") == name && !name.is_empty() {
        return plain;
    }
    format!("{plain}_{}", hash(&name))
}

fn hash(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    format!("{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2])
}

#[cfg(unix)]
fn machine() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "here".into())
}

#[cfg(not(unix))]
fn machine() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "here".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_keyword_has_a_topic_of_its_own() {
        assert_eq!((slug("Hello").as_str(), slug("smart mirror").as_str()), ("hello", "smart_mirror"));
        let names = [
            "hello",
            "siobhán",
            "siobhan",
            "a b",
            "a_b",
            "a/b",
            "a+b",
            "#",
            "",
            &"x".repeat(50),
            &"x".repeat(51),
            "嗨",
        ];
        let slugs: BTreeSet<String> = names.iter().map(|n| slug(n)).collect();
        assert_eq!(slugs.len(), names.len(), "{slugs:?}");
        for slug in slugs {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
            assert!(!slug.is_empty() && slug.chars().all(good) && slug.len() < 60, "{slug}");
        }
    }

    #[test]
    fn topics_that_differ_are_clients_that_differ() {
        let bases = ["house/hall", "House/Hall", "house hall", "house_hall", "house/hall2"];
        let topics = bases.map(|base| Topics::new(Some(base), "homeassistant"));
        let clients: BTreeSet<String> = topics.iter().map(Topics::client).collect();
        let entities: BTreeSet<String> = topics.iter().filter_map(|t| t.config("hello")).collect();
        assert_eq!((clients.len(), entities.len()), (bases.len(), bases.len()), "{clients:?}");
    }

    #[test]
    fn topics_stand_below_the_base() {
        let topics = Topics::new(Some("house/kws"), "homeassistant");
        assert_eq!(topics.keyword("smart mirror"), "house/kws/detection/smart_mirror");
        let config = topics.config("hello").expect("it is on");
        assert_eq!(config, "homeassistant/event/house_kws/hello/config");
        assert_eq!(topics.filters(), ["homeassistant/status", "homeassistant/event/house_kws/+/config"]);
        assert!(topics.is_birth("homeassistant/status", b"online"));
        assert!(!topics.is_birth("homeassistant/status", b"offline") && !topics.is_birth("other/status", b"online"));
        let entity: serde_json::Value = serde_json::from_str(&topics.entity("hello", "default")).expect("an object");
        assert_eq!(entity["state_topic"], "house/kws/detection/hello");
        assert_eq!(entity["availability_topic"], "house/kws/availability");
        assert_eq!(entity["event_types"], json!(["detected"]));
        assert_eq!(entity["unique_id"], "house_kws_hello");
        let off = Topics::new(None, "off");
        assert!(off.base().starts_with("kws-live/") && off.config("hello").is_none() && off.filters().is_empty());
        assert!(off.client().starts_with("kws-live"));
    }
}
