//! One connection to the broker, from the attempt to its end, on a thread of its own that waits for the network.
//!
//! `rumqttc` could connect again by itself and keep what was not acknowledged; but it forgets that when the broker has forgotten
//! the session, which a broker that was killed has. So each connection starts with nothing, and the spool knows what is open.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, LastWill, Packet, PubAckReason};
use rumqttc::v5::{Client, Connection, ConnectionError, Event, MqttOptions, StateError};
use rumqttc::{Outgoing, TlsConfiguration, Transport};

use super::access::Access;

/// Messages on their way; more wait until some are acknowledged.
pub const WINDOW: usize = 64;
/// The two subscriptions and the goodbye.
const OTHERS: usize = 4;
/// After so long without a word the broker is asked whether it is there, and after as long again it is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Seconds that an attempt may take.
const PATIENCE: u64 = 5;
/// Larger messages are not for us: those are of a subscription to what was announced before.
const LARGEST: u32 = 64 * 1024;

/// What happens on the connection.
#[derive(Debug)]
pub enum News {
    /// It is there.
    Up,
    /// A message has been written, under this number.
    Sent(u16),
    /// And has been acknowledged, or refused for this reason.
    Answered(u16, Option<String>),
    /// A message of a subscription.
    Heard { topic: String, payload: Vec<u8>, retained: bool },
    /// It has ended, because this side said goodbye or for this reason.
    Down(Option<Trouble>),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words that say what to do.
    pub why: String,
    /// Whether it goes away only if somebody does that.
    pub asks: bool,
}

impl Trouble {
    /// One that may go away by itself.
    pub fn passing(why: String) -> Self {
        Self { why, asks: false }
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Of the spool.
    Event(u64),
    /// Something that is said again at the next connection.
    Word,
}

/// This side of a connection.
pub struct Link {
    pub news: Receiver<News>,
    client: Client,
    up: bool,
    /// Whether this side has said goodbye.
    closed: Arc<AtomicBool>,
    /// Given to the connection, without a number yet.
    given: VecDeque<What>,
    /// Written, by number.
    flying: HashMap<u16, What>,
}

impl Link {
    /// Begins to connect; does not wait.
    pub fn open(access: &Access) -> io::Result<Self> {
        let (client, connection) = Client::new(options(access), WINDOW + OTHERS);
        let (give, news) = bounded(WINDOW);
        let (place, closed) = (access.broker.to_string(), Arc::<AtomicBool>::default());
        let asked = closed.clone();
        let wait = move || follow(connection, &give, &place, &asked);
        thread::Builder::new().name("kws-mqtt-net".into()).spawn(wait)?;
        Ok(Self { news, client, up: false, closed, given: VecDeque::new(), flying: HashMap::new() })
    }

    /// Whether the broker has answered.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// It has.
    pub fn came_up(&mut self) {
        self.up = true;
    }

    /// How many messages may be published now.
    pub fn room(&self) -> usize {
        if self.up { WINDOW - self.unanswered().min(WINDOW) } else { 0 }
    }

    /// Messages that are not acknowledged.
    pub fn unanswered(&self) -> usize {
        self.given.len() + self.flying.len()
    }

    /// Publishes a message, at least once; only while there is [`Link::room`].
    pub fn publish(&mut self, what: What, topic: &str, retain: bool, payload: String) {
        match self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload) {
            Ok(()) => self.given.push_back(what),
            // Its thread has ended, which is told next; or the topic is none, which the start has refused.
            Err(error) => log::debug!("MQTT: not published: {error}"),
        }
    }

    /// Asks for messages.
    pub fn subscribe(&self, filter: &str) {
        if self.client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
            log::debug!("MQTT: no room to subscribe to {filter}");
        }
    }

    /// A message has been written: they are, in the order in which they were given.
    pub fn sent(&mut self, number: u16) {
        if let Some(what) = self.given.pop_front() {
            self.flying.insert(number, what);
        }
    }

    /// What has been acknowledged.
    pub fn answered(&mut self, number: u16) -> Option<What> {
        self.flying.remove(&number)
    }

    /// Says goodbye, so that the broker does not say `offline` a second time.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if self.client.try_disconnect().is_err() {
            log::debug!("MQTT: no room to say goodbye");
        }
    }
}

fn options(access: &Access) -> MqttOptions {
    let mut options = MqttOptions::new(&access.client, &access.broker.host, access.broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(true).set_connection_timeout(PATIENCE);
    options.set_outgoing_inflight_upper_limit(WINDOW as u16).set_max_packet_size(Some(LARGEST));
    options.set_last_will(LastWill::new(&access.availability, "offline", QoS::AtLeastOnce, true, None));
    if let Some(user) = &access.broker.user {
        options.set_credentials(user, access.password.as_deref().unwrap_or_default());
    }
    if let Some(tls) = &access.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

/// Tells what happens until the connection ends or nobody listens any more.
fn follow(mut connection: Connection, give: &Sender<News>, place: &str, closed: &AtomicBool) {
    for event in connection.iter() {
        let news = match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => News::Up,
            Ok(Event::Incoming(Packet::PubAck(ack))) => {
                let good = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                News::Answered(ack.pkid, (!good).then(|| format!("{:?}", ack.reason)))
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => News::Heard {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retained: publish.retain,
            },
            Ok(Event::Outgoing(Outgoing::Publish(number))) => News::Sent(number),
            // `rumqttc` says goodbye by itself when the broker has broken the protocol.
            Ok(Event::Outgoing(Outgoing::Disconnect)) => News::Down(
                (!closed.load(Ordering::Acquire))
                    .then(|| Trouble::passing(format!("the connection to {place} ended after a protocol error"))),
            ),
            Ok(_) => continue,
            Err(error) => News::Down(Some(trouble(&error, place))),
        };
        let last = matches!(news, News::Down(_));
        if give.send(news).is_err() || last {
            return;
        }
    }
}

/// What a person can do about it.
fn trouble(error: &ConnectionError, place: &str) -> Trouble {
    let asks = |why| Trouble { why, asks: true };
    let refused = |code: &ConnectReturnCode| match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            format!(
                "{place} refuses the user or the password; check the user in --mqtt and KWS_MQTT_PASSWORD or mqtt-password"
            )
        }
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
            format!("{place} does not speak MQTT 5; use a broker that does, such as mosquitto 1.6 or later")
        }
        code => format!("{place} refuses the connection: {code:?}"),
    };
    Trouble::passing(match error {
        ConnectionError::ConnectionRefused(code) => return asks(refused(code)),
        ConnectionError::MqttState(StateError::ConnFail { reason }) => return asks(refused(reason)),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => match reason_code {
            DisconnectReasonCode::SessionTakenOver => {
                let why = "has given the connection to another kws-live; give each a --mqtt-topic of its own";
                return asks(format!("{place} {why}"));
            }
            code => format!("{place} has ended the connection: {code:?}"),
        },
        ConnectionError::MqttState(StateError::AwaitPingResp) => format!("{place} does not answer any more"),
        ConnectionError::MqttState(StateError::ConnectionAborted) => format!("{place} has closed the connection"),
        ConnectionError::Timeout(_) => format!("{place} does not answer"),
        ConnectionError::Tls(error) => {
            let why = "does --mqtt-ca name the authority that signed its certificate?";
            return asks(format!("{place}: {}; {why}", told(error)));
        }
        error => format!("{place}: {}", told(error)),
    })
}

/// An error with its causes, in one line; what a cause repeats is left out.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
