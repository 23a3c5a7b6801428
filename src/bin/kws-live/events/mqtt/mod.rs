//! `--mqtt`: detections for an MQTT 5 broker, and an event entity a keyword for Home Assistant.
//!
//! ```text
//! notices ──▶ kws-mqtt: spool, oldest first ──▶ kws-mqtt-net: one connection ──▶ broker
//!                 ▲                                     │
//!                 └───── written, acknowledged, ended ──┘
//! ```
//!
//! An event leaves the [`Spool`] when the broker has acknowledged it. So every event arrives at least once, in order, as long as
//! the spool has room; one that may have been sent before a connection ended is sent again and marked as a duplicate.

mod access;
mod count;
mod journal;
mod link;
mod sink;
mod spool;
mod tls;
mod topics;

use std::sync::Arc;

use anyhow::{Context, ensure};

pub use count::MqttCount;

use self::access::Access;
use self::journal::{Journal, Left};
use self::sink::Publisher;
use self::spool::{Limit, Spool};
use self::topics::Topics;
use super::{Notice, Sink};
use crate::args::MqttArgs;
use crate::output::note;

/// The broker, with all that was checked before anything is listened to.
pub struct Mqtt {
    access: Access,
    topics: Topics,
    spool: Spool,
    count: Arc<MqttCount>,
    /// Events of an earlier run for which there is no room.
    dropped: u64,
}

impl Mqtt {
    /// Whether the options go together; opens nothing.
    pub fn check(args: &MqttArgs) -> anyhow::Result<()> {
        access::check(args).map(drop)?;
        if let Some(dir) = &args.mqtt_spool {
            ensure!(!dir.exists() || dir.is_dir(), "--mqtt-spool: {} is no folder; name another", dir.display());
        }
        Ok(())
    }

    /// Checks the options and opens the spool, if a broker is wanted.
    pub fn open(args: &MqttArgs) -> anyhow::Result<Option<Self>> {
        let Some((access, topics)) = access::check(args)? else { return Ok(None) };
        let limit =
            Limit { events: args.mqtt_spool_max_events as usize, bytes: args.mqtt_spool_max_kb as usize * 1_000 };
        let journal = args.mqtt_spool.as_deref().map(Journal::open).transpose().context("--mqtt-spool")?;
        if let Some((journal, Left { broken: broken @ 1.., .. })) = &journal {
            log::warn!("MQTT: {broken} lines of the spool in {} cannot be read", journal.folder().display());
        }
        let (spool, dropped) = Spool::new(limit, journal);
        Ok(Some(Self { access, topics, spool, count: Arc::default(), dropped }))
    }

    /// Says where it goes; the sink brings it the news.
    pub fn start(self, model: String) -> Box<dyn Sink> {
        let left = self.spool.len();
        let more = if left > 0 { format!(", with {left} events of an earlier run") } else { String::new() };
        note(&format!("publishing to {} below {}{more}", self.access.broker, self.topics.base()));
        if self.access.shows_password() {
            note("the password for the broker goes over the network as it is; mqtts:// would hide it");
        }
        Box::new(Publisher::new(self, model))
    }

    /// What becomes of the events.
    pub fn count(&self) -> Arc<MqttCount> {
        self.count.clone()
    }
}
