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
use std::time::Duration;

use anyhow::{Context, bail};

pub use count::MqttCount;

use self::access::Access;
use self::journal::{Journal, Left};
use self::link::{Link, News};
use self::sink::Publisher;
use self::spool::{Limit, Spool};
use self::topics::Topics;
use super::{NAP, Notice, Patience, Sink};
use crate::args::MqttArgs;
use crate::output::note;
use crate::service::config::Of;

/// What may wait, if it is not given: events and kilobytes.
const EVENTS: u32 = 1_000;
const KILOBYTES: u32 = 1_000;
/// Longer than an attempt to connect may take.
const REACH: Duration = Duration::from_secs(8);
/// Time for a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

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
        access::check(args).map(drop)
    }

    /// Checks the options and opens the spool, if a broker is wanted.
    pub fn open(args: &MqttArgs) -> anyhow::Result<Option<Self>> {
        let Some((access, topics)) = access::check(args)? else { return Ok(None) };
        let kilobytes = args.mqtt_spool_max_kb.unwrap_or(KILOBYTES) as usize;
        let limit = Limit { events: args.mqtt_spool_max_events.unwrap_or(EVENTS) as usize, bytes: kilobytes * 1_000 };
        let journal = args.mqtt_spool.as_deref().map(Journal::open).transpose().context("--mqtt-spool");
        let journal = journal.of("mqtt-spool")?;
        if let Some((journal, Left { broken: broken @ 1.., .. })) = &journal {
            log::warn!("MQTT: {broken} lines of the spool in {} cannot be read", journal.folder().display());
        }
        let (spool, dropped) = Spool::new(limit, journal);
        Ok(Some(Self { access, topics, spool, count: Arc::default(), dropped }))
    }

    /// Whether the broker lets this program in: its place, once it has; `None` if no broker is wanted. Waits some seconds, and
    /// disturbs no kws-live that is connected.
    pub fn reach(args: &MqttArgs) -> anyhow::Result<Option<String>> {
        let Some((access, _)) = access::check(args)? else { return Ok(None) };
        let other = |name: &str| format!("{name}-doctor");
        let access = Access { client: other(&access.client), availability: other(&access.availability), ..access };
        let link = Link::open(&access)?;
        let place = access.broker.to_string();
        match link.news.recv_timeout(REACH) {
            Ok(News::Up) => {
                link.close();
                // Until it is gone, so that the broker sees a goodbye.
                while link.news.recv_timeout(GOODBYE).is_ok_and(|news| !matches!(news, News::Down(_))) {}
                Ok(Some(place))
            }
            Ok(News::Down(Some(trouble))) if trouble.asks => bail!("{}", trouble.why),
            Ok(News::Down(Some(trouble))) => bail!("{}; start the broker, or correct --mqtt", trouble.why),
            _ => bail!("{place} does not answer; start the broker, or correct --mqtt"),
        }
    }

    /// Says where it goes; the sink brings it the news.
    pub fn start(self, model: String, patience: Patience) -> Box<dyn Sink> {
        let left = self.spool.len();
        let more = if left > 0 { format!(", with {left} events of an earlier run") } else { String::new() };
        note(&format!("publishing to {} below {}{more}", self.access.broker, self.topics.base()));
        if self.access.shows_password() {
            note("the password for the broker goes over the network as it is; mqtts:// would hide it");
        }
        Box::new(Publisher::new(self, model, patience))
    }

    /// What becomes of the events.
    pub fn count(&self) -> Arc<MqttCount> {
        self.count.clone()
    }
}
