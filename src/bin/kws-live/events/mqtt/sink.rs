//! The thread that has the spool and talks to the connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, after, never, select};
use kws_live::spotter::KeywordId;
use serde::Serialize;

use super::access::Access;
use super::count::MqttCount;
use super::link::{Link, News, Trouble, What};
use super::spool::Spool;
use super::topics::{EVENT, Topics};
use super::{Mqtt, NAP, Notice, Patience, Sink};
use crate::output::Record;

/// Time to the second attempt; doubled for each one after it, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many connections in a row that did not hold, twice as long as anybody waits, are no accident.
const FEW: u32 = 3;
/// How long the end waits for the broker to take what is left.
const LAST: Duration = Duration::from_secs(2);
/// And to hear goodbye.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long the entity of a keyword that is gone waits for it to come back.
const LEAVE: Duration = Duration::from_secs(1);
/// Events on their way, each in two copies: few, so that few are marked as duplicates.
const EVENTS: usize = 16;

/// Publishes what it is told, as long as the program runs.
pub struct Publisher {
    access: Access,
    topics: Topics,
    spool: Spool,
    model: String,
    patience: Patience,
    count: Arc<MqttCount>,
    /// Begins the `id` of each event.
    session: String,
    number: u64,
    keywords: BTreeMap<KeywordId, Arc<str>>,
    link: Option<Link>,
    /// Words for the broker: topic and text, retained. Forgotten with the connection, and said anew at the next.
    words: VecDeque<(String, String)>,
    pause: Duration,
    retry: Receiver<Instant>,
    /// What was said of the trouble that lasts.
    told: Option<Trouble>,
    /// Connections in a row that did not hold.
    short: u32,
    /// Since when the broker is there.
    since: Option<Instant>,
    /// Entities of keywords that are gone, or never were ours. They wait for a moment: a keyword that comes back at once, said
    /// in another way, keeps its entity, and so does one that is told later than the broker tells of its entity.
    leaving: Vec<String>,
    leave: Receiver<Instant>,
    /// Refusals that were said.
    refused: BTreeSet<String>,
    full: bool,
}

/// An event as it is published, without the mark for duplicates.
#[derive(Serialize)]
struct Message<'a> {
    /// Home Assistant needs it.
    event_type: &'static str,
    #[serde(flatten)]
    record: &'a Record,
    /// When it was heard, UTC: it may arrive much later.
    time: String,
    /// No other event has it; a duplicate has the same.
    id: String,
}

impl Publisher {
    /// With everything that was opened; `model` is shown by Home Assistant.
    pub fn new(opened: Mqtt, model: String, patience: Patience) -> Self {
        let Mqtt { access, topics, spool, count, dropped } = opened;
        let mut publisher = Self {
            access,
            topics,
            spool,
            model,
            patience,
            count,
            session: session(),
            number: 0,
            keywords: BTreeMap::new(),
            link: None,
            words: VecDeque::new(),
            pause: FIRST_PAUSE,
            retry: never(),
            told: None,
            short: 0,
            since: None,
            leaving: Vec::new(),
            leave: never(),
            refused: BTreeSet::new(),
            full: false,
        };
        publisher.dropped(dropped);
        publisher
    }

    fn connect(&mut self) {
        self.retry = never();
        match Link::open(&self.access) {
            Ok(link) => self.link = Some(link),
            Err(error) => self.lost(Some(Trouble::passing(format!("no thread for {}: {error}", self.access.broker)))),
        }
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Detection(record) => {
                self.number += 1;
                let message = Message {
                    event_type: EVENT,
                    record: &record,
                    time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                    id: format!("{}-{}", self.session, self.number),
                };
                // Strings and finite numbers cannot fail.
                let dropped = self.spool.push(serde_json::to_string(&message).unwrap_or_default());
                self.dropped(dropped);
            }
            Notice::Added(id, name) => {
                self.announce(&name);
                self.keywords.insert(id, name);
            }
            Notice::Removed(id) => {
                let gone = self.keywords.remove(&id).and_then(|name| self.topics.config(&name));
                self.leave_soon(gone);
            }
            // The entities are the keywords'; the microphone is watched through /health and /metrics.
            Notice::Device(_) => {}
        }
        self.pump();
    }

    fn news(&mut self, news: News) {
        match news {
            News::Up => self.came_up(),
            News::Sent(number) => {
                if let Some(link) = &mut self.link {
                    link.sent(number);
                }
            }
            News::Answered(number, refusal) => {
                let what = self.link.as_mut().and_then(|link| link.answered(number));
                if let Some(reason) = &refusal
                    && self.refused.insert(reason.clone())
                {
                    log::warn!(
                        "MQTT: {} refuses a message: {reason}; may the user write below {} and the topic of --mqtt-discovery?",
                        self.access.broker,
                        self.topics.base()
                    );
                }
                if let Some(What::Event(number)) = what
                    && let Some(taken) = self.spool.answered(number, refusal.is_none())
                {
                    if taken {
                        self.count.deliver();
                    } else {
                        self.count.lose(1);
                    }
                    self.full &= self.spool.is_full();
                }
            }
            News::Heard { topic, payload, retained } => self.heard(&topic, &payload, retained),
            News::Down(trouble) => self.lost(trouble),
        }
        self.pump();
    }

    fn came_up(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.came_up();
        for filter in self.topics.filters() {
            link.subscribe(&filter);
        }
        self.count.up();
        self.since = Some(Instant::now());
        self.words.push_back((self.topics.availability(), "online".into()));
        let names: Vec<_> = self.keywords.values().cloned().collect();
        for name in names {
            self.announce(&name);
        }
        if self.told.take().is_some() && self.short < FEW {
            log::warn!("MQTT: {} is there again; {} events have waited", self.access.broker, self.spool.len());
        } else {
            log::info!("MQTT: connected to {}", self.access.broker);
        }
    }

    /// Once for each trouble, until the broker is back.
    fn lost(&mut self, trouble: Option<Trouble>) {
        self.link = None;
        self.words.clear();
        self.leaving.clear();
        self.spool.lost();
        self.count.down();
        // Not after every short connection: two programs that take it from each other do so less and less often.
        let held = self.since.take().map(|since| since.elapsed() >= 2 * LONGEST_PAUSE);
        match held {
            Some(true) => (self.pause, self.short) = (FIRST_PAUSE, 0),
            Some(false) => self.short += 1,
            None => {}
        }
        let Some(trouble) = trouble else { return };
        if held == Some(false) && self.short > FEW {
            self.told = Some(trouble);
        } else if self.told.is_none() || (trouble.asks && self.told.as_ref() != Some(&trouble)) {
            let guess =
                "; it is so again and again, which is told no more: has another kws-live the same --mqtt-topic?";
            let guess = if held == Some(false) && self.short == FEW { guess } else { "" };
            log::warn!("MQTT: {}; events wait, it is tried again{guess}", trouble.why);
            self.told = Some(trouble);
        }
        self.retry = after(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn heard(&mut self, topic: &str, payload: &[u8], retained: bool) {
        if self.topics.is_birth(topic, payload) {
            // One that is retained was said before this connection, which has announced everything.
            let names: Vec<_> = if retained { Vec::new() } else { self.keywords.values().cloned().collect() };
            for name in names {
                self.announce(&name);
            }
        } else if retained && !payload.is_empty() && topic.ends_with("/config") {
            // An earlier run, or a reload without a broker, had other keywords. Ours may not all be known yet, right after the
            // start or within a reload: Home Assistant would forget what its user has made of their entities.
            self.leave_soon(Some(topic.to_owned()));
        }
    }

    fn announce(&mut self, keyword: &str) {
        if self.link.as_ref().is_some_and(Link::is_up)
            && let Some(topic) = self.topics.config(keyword)
        {
            self.words.push_back((topic, self.topics.entity(keyword, &self.model)));
        }
    }

    /// Takes an entity away in a moment, unless its keyword is listened for then.
    fn leave_soon(&mut self, topic: Option<String>) {
        self.leaving.extend(topic);
        self.leave = after(LEAVE);
    }

    /// Takes the entities of keywords away that have not come back.
    fn left(&mut self) {
        self.leave = never();
        let up = self.link.as_ref().is_some_and(Link::is_up);
        let wanted: BTreeSet<String> = self.keywords.values().filter_map(|name| self.topics.config(name)).collect();
        for topic in std::mem::take(&mut self.leaving) {
            if up && !wanted.contains(&topic) {
                self.words.push_back((topic, String::new()));
            }
        }
        self.pump();
    }

    /// Gives the connection what it can take.
    fn pump(&mut self) {
        let Some(link) = &mut self.link else {
            self.count.wait(self.spool.len());
            return;
        };
        while link.room() > 0
            && let Some((topic, text)) = self.words.pop_front()
        {
            link.publish(What::Word, &topic, true, text);
        }
        while link.room() > 1
            && self.spool.flying() < EVENTS
            && let Some(due) = self.spool.send(2)
        {
            if due.duplicate {
                self.count.repeat();
            }
            let topic = self.topics.keyword(&keyword(&due.text));
            link.publish(What::Event(due.number), &self.topics.detection(), false, due.text.clone());
            link.publish(What::Event(due.number), &topic, false, due.text);
        }
        self.count.wait(self.spool.len());
    }

    fn dropped(&mut self, events: u64) {
        self.count.lose(events);
        if events > 0 && !std::mem::replace(&mut self.full, true) {
            log::warn!(
                "MQTT: {} events wait, more have no room: the oldest are dropped; see --mqtt-spool-max-events",
                self.spool.len()
            );
        }
    }

    /// The next thing that happens on the connection, until then. False if there will be none.
    fn wait(&mut self, until: Instant) -> bool {
        let Some(link) = &self.link else { return false };
        match link.news.recv_deadline(until) {
            Ok(news) => {
                self.news(news);
                self.link.is_some()
            }
            Err(_) => false,
        }
    }

    /// Lets out what it can, says `offline`, and tells what is left.
    fn end(&mut self) {
        let until = Instant::now() + LAST;
        while self.spool.len() > 0 && self.wait(until) {}
        if self.link.as_ref().is_some_and(Link::is_up) {
            let until = Instant::now() + GOODBYE;
            self.words.push_back((self.topics.availability(), "offline".into()));
            self.pump();
            let open = |mqtt: &Self| !mqtt.words.is_empty() || mqtt.link.as_ref().is_some_and(|l| l.unanswered() > 0);
            while open(self) && self.wait(until) {}
            if let Some(link) = &self.link {
                link.close();
            }
            while self.wait(until + GOODBYE) {}
        }
        self.spool.keep();
        let kept = self.spool.kept();
        let lost = self.spool.len() - kept;
        if kept > 0 {
            log::warn!("MQTT: {kept} events wait on the disk for the next run");
        }
        if lost > 0 {
            log::warn!("MQTT: {lost} events could not be published before the end");
        }
        self.count.lose(lost as u64);
        self.count.wait(kept);
    }
}

impl Sink for Publisher {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn run(mut self: Box<Self>, notices: Receiver<Notice>) {
        let (nothing, silence) = (never(), never());
        self.connect();
        loop {
            // As long as a broker takes events, those of a file that find no room wait in the queue, and the file with them.
            let waits = self.patience.lasts() && self.link.as_ref().is_some_and(Link::is_up) && self.spool.is_full();
            let notices = if waits { &silence } else { &notices };
            // A signal ends that, and does not come by a channel.
            let look = if waits { after(NAP) } else { never() };
            let news = self.link.as_ref().map_or(nothing.clone(), |link| link.news.clone());
            let (retry, leave) = (self.retry.clone(), self.leave.clone());
            select! {
                recv(notices) -> notice => match notice {
                    Ok(notice) => self.take(notice),
                    Err(_) => break,
                },
                recv(news) -> news => match news {
                    Ok(news) => self.news(news),
                    // Its thread has panicked, which has said why.
                    Err(_) => {
                        self.lost(Some(Trouble::passing(format!("the connection to {} broke", self.access.broker))));
                    }
                },
                recv(retry) -> _ => self.connect(),
                recv(leave) -> _ => self.left(),
                recv(look) -> _ => {}
            }
        }
        self.end();
    }
}

/// Different for each run.
fn session() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    format!("{now:x}-{:x}", std::process::id())
}

/// The keyword of an event; the text may be an earlier run's.
fn keyword(event: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
    value["keyword"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_keyword_and_is_no_other() {
        let record = Record::new("detection", "smart mirror", 0.5, (0, 16_000), None);
        let message = Message { event_type: EVENT, record: &record, time: String::new(), id: "a-1".into() };
        let text = serde_json::to_string(&message).expect("an object");
        assert_eq!(keyword(&text), "smart mirror");
        let value: serde_json::Value = serde_json::from_str(&text).expect("an object");
        assert_eq!(
            (&value["event_type"], &value["type"], &value["id"]),
            (&"detected".into(), &"detection".into(), &"a-1".into())
        );
        assert_ne!(session(), "");
    }
}
