//! The conversation with one client.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kws_live::engine::seconds;
use kws_live::spotter::{Detection, SpotError, Spotter};
use serde_json::{Map, Value, json};

use super::hub::{Hub, Listed, Listing};
use super::info;
use super::stream::{Format, Stream};
use super::wire::{Event, Limits, Timed, Wire, WireError, encode};
use crate::events::Notice;
use crate::net::hang_up;
use crate::output::Record;

/// Five minutes: a satellite that sends sound only while somebody speaks keeps its connection.
const LIMITS: Limits = Limits { idle: Duration::from_mins(5), event: Duration::from_secs(10) };
/// How long a client may take to take an answer.
const WRITE: Duration = Duration::from_secs(5);
/// Most of a name that is repeated in a message.
const QUOTE: usize = 40;

/// Why a conversation ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// What came was no event, or none came.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An event that cannot be followed.
    #[error("{0}")]
    Refused(String),
    /// An answer could not be sent.
    #[error("it takes no answer: {0}")]
    Answer(#[from] io::Error),
    /// The model failed.
    #[error(transparent)]
    Spot(#[from] SpotError),
}

/// Talks to one client until it leaves or errs; then it is told why, where it still listens.
pub fn serve(stream: &TcpStream, name: &str, hub: &Hub) -> Result<(), Broken> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE))?;
    let mut client = Client { out: stream, name, hub, names: HashSet::new(), ear: None, stream: None, doubted: false };
    let outcome = client.talk(Wire::new(Timed::new(stream, LIMITS)));
    client.leave();
    let broken = match outcome {
        Ok(()) => return Ok(()),
        Err(broken) => broken,
    };
    if !matches!(broken, Broken::Answer(_) | Broken::Wire(WireError::Lost(_))) {
        // It may have gone; then it does not care.
        let told = client.send("error", &json!({ "text": broken.to_string(), "code": null }));
        let _ = told.and_then(|()| hang_up(stream));
    }
    Err(broken)
}

/// A spotter, and what it listens for.
struct Ear {
    spotter: Spotter,
    /// Of which listing it has its keywords.
    listing: Listing,
    /// Their places in the listing.
    chosen: Vec<usize>,
}

struct Client<'a> {
    out: &'a TcpStream,
    name: &'a str,
    hub: &'a Hub,
    /// Those of the last detect, in small letters; none stands for all.
    names: HashSet<String>,
    ear: Option<Ear>,
    stream: Option<Stream>,
    /// Whether it has been said that it asked for a keyword that is not there.
    doubted: bool,
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if let Some(ear) = self.ear.take() {
            self.hub.give_back(ear.spotter);
        }
    }
}

impl Client<'_> {
    fn talk(&mut self, mut wire: Wire<Timed<'_>>) -> Result<(), Broken> {
        while let Some(event) = wire.next()? {
            self.follow(&event)?;
            wire.reuse(event);
            wire.rest();
        }
        Ok(())
    }

    fn send(&mut self, kind: &str, data: &Value) -> io::Result<()> {
        self.out.write_all(&encode(kind, data))
    }

    fn follow(&mut self, event: &Event) -> Result<(), Broken> {
        match event.kind.as_str() {
            "describe" => self.send("info", &info::info(self.hub.model(), &self.hub.keywords()))?,
            "ping" => self.send("pong", &json!({ "text": event.data.get("text") }))?,
            "detect" => self.detect(&event.data)?,
            "audio-start" => self.begin(&event.data)?,
            "audio-chunk" => self.hear(event)?,
            "audio-stop" => self.end()?,
            // Newer clients may say more than is known here.
            other => log::debug!("Wyoming client {}: `{}` is not known", self.name, quote(other)),
        }
        Ok(())
    }

    fn detect(&mut self, data: &Map<String, Value>) -> Result<(), Broken> {
        self.names = match data.get("names") {
            None | Some(Value::Null) => HashSet::new(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_lowercase).collect(),
            Some(_) => return Err(Broken::Refused("`names` is no list".into())),
        };
        let listing = self.hub.keywords();
        let known: HashSet<String> = listing.iter().map(|listed| listed.name.to_lowercase()).collect();
        if let Some(name) = self.names.difference(&known).next() {
            // One line a connection: a client may ask as often as it likes.
            let level = if self.doubted { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "Wyoming client {}: there is no keyword `{}` here", self.name, quote(name));
            self.doubted = true;
        }
        // At once also in a stream that goes on.
        if self.stream.is_some() { self.tune() } else { self.choose(&listing).map(drop) }
    }

    /// Places of the wanted keywords.
    fn choose(&self, listing: &[Listed]) -> Result<Vec<usize>, Broken> {
        let wanted = |place: &usize| self.names.is_empty() || self.names.contains(&listing[*place].name.to_lowercase());
        let places: Vec<usize> = (0..listing.len()).filter(wanted).collect();
        if places.is_empty() {
            return Err(Broken::Refused("none of these names is a keyword here; see describe".into()));
        }
        Ok(places)
    }

    /// Listens for what is wanted now.
    fn tune(&mut self) -> Result<(), Broken> {
        let listing = self.hub.keywords();
        let places = self.choose(&listing)?;
        let ear = match &mut self.ear {
            Some(ear) => ear,
            none => none.insert(Ear { spotter: self.hub.spotter()?, listing: Arc::new([]), chosen: Vec::new() }),
        };
        if !Arc::ptr_eq(&ear.listing, &listing) || ear.chosen != places {
            ear.spotter.set_keywords(places.iter().map(|place| listing[*place].keyword.clone()));
            (ear.chosen, ear.listing) = (places, listing);
        }
        Ok(())
    }

    /// A new stream; the last words of one that was not ended go to the ways out.
    fn begin(&mut self, data: &Map<String, Value>) -> Result<(), Broken> {
        let format = Format::of(data, None).map_err(Broken::Refused)?;
        self.leave();
        self.stream = Some(Stream::new(format, timestamp(data)).map_err(|e| Broken::Refused(e.to_string()))?);
        self.tune()?;
        if let Some(ear) = &mut self.ear {
            ear.spotter.reset();
        }
        Ok(())
    }

    fn hear(&mut self, event: &Event) -> Result<(), Broken> {
        if self.stream.is_none() {
            // Clients that do not say audio-start: a chunk says as much.
            self.begin(&event.data)?;
        } else if self.ear.as_ref().is_some_and(|ear| !Arc::ptr_eq(&ear.listing, &self.hub.keywords())) {
            // They were read again; a satellite's stream may never end.
            self.tune()?;
        }
        let (Some(stream), Some(ear)) = (&mut self.stream, &mut self.ear) else { return Ok(()) };
        if Format::of(&event.data, Some(stream.format())).map_err(Broken::Refused)? != stream.format() {
            return Err(Broken::Refused("the format changes within a stream; send audio-stop first".into()));
        }
        if !stream.whole(event.payload.len()) {
            return Err(Broken::Refused(format!("a payload of {} bytes cuts a sample", event.payload.len())));
        }
        let (began, before) = (Instant::now(), ear.spotter.position());
        let mut hits = Vec::new();
        let levels = self.hub.meters.levels();
        let sound = (event.payload.as_slice(), timestamp(&event.data));
        let outcome = stream.hear(&mut ear.spotter, sound, |mono| levels.measure(mono), &mut hits);
        let heard = ear.spotter.position() - before;
        self.hub.meters.add_heard(heard);
        if heard > 0 {
            self.hub.meters.spent(began.elapsed().as_secs_f32(), seconds(heard) as f32);
        }
        let told = self.publish(&hits);
        outcome?;
        self.tell(&told)
    }

    fn end(&mut self) -> Result<(), Broken> {
        let (told, outcome) = self.finish();
        outcome?;
        self.tell(&told)?;
        if self.stream.take().is_none_or(|stream| stream.found == 0) {
            self.send("not-detected", &json!({}))?;
        }
        Ok(())
    }

    /// It is gone, begins again, or the program ends: the last words of a stream that was not ended go to the ways out.
    fn leave(&mut self) {
        if let (_, Err(error)) = self.finish() {
            log::debug!("Wyoming client {}: its last words are lost: {error}", self.name);
        }
        self.stream = None;
    }

    /// Lets the last words of the stream out; what the client is to be told of them.
    fn finish(&mut self) -> (Vec<Value>, Result<(), SpotError>) {
        let (Some(stream), Some(ear)) = (&mut self.stream, &mut self.ear) else { return (Vec::new(), Ok(())) };
        let (mut hits, before) = (Vec::new(), ear.spotter.position());
        let outcome = stream.finish(&mut ear.spotter, &mut hits);
        self.hub.meters.add_heard(ear.spotter.position() - before);
        (self.publish(&hits), outcome)
    }

    /// To the ways out, which do not wait: they hear of every word, also where the client takes no answer. What the client is
    /// to be told.
    fn publish(&mut self, hits: &[Detection]) -> Vec<Value> {
        let Some(stream) = &mut self.stream else { return Vec::new() };
        let one = |hit: &Detection| {
            stream.found += 1;
            let timestamp = stream.time(hit.end);
            self.hub.meters.detected(seconds(hit.emitted.saturating_sub(hit.end)) as f32);
            let record = Record { client: Some(self.name.to_owned()), ..Record::detection(hit, None) };
            self.hub.publish(Notice::Detection(Arc::new(record)));
            json!({ "name": &*hit.name, "timestamp": timestamp, "speaker": null })
        };
        hits.iter().map(one).collect()
    }

    fn tell(&mut self, detections: &[Value]) -> Result<(), Broken> {
        for detection in detections {
            self.send("detection", detection)?;
        }
        Ok(())
    }
}

/// Milliseconds, where they are said.
fn timestamp(data: &Map<String, Value>) -> Option<i64> {
    let value = data.get("timestamp")?;
    value.as_i64().or_else(|| value.as_f64().map(|ms| ms as i64))
}

fn quote(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use kws_live::enrol::Enroller;
    use kws_live::model::Bundle;
    use kws_live::spotter::SpotterConfig;
    use kws_live::text::parse_keywords;
    use proptest::prelude::*;

    use super::*;
    use crate::args::ServiceArgs;
    use crate::events::{Feed, Patience, Plan};
    use crate::service::signals::Stop;

    fn hub() -> Hub {
        hub_at(SpotterConfig::default())
    }

    fn hub_at(config: SpotterConfig) -> Hub {
        let bundle = Bundle::embedded().expect("the model");
        let mut enroller = Enroller::new(&bundle, config.choice).expect("the model");
        let specs = parse_keywords("hello, stop").expect("a list");
        let keywords = specs.iter().map(|spec| enroller.text(spec).expect("a word")).collect();
        Hub::new(bundle, config, keywords).expect("the model")
    }

    /// What a client is told if it sends all this and then no more, and how it ends.
    fn converse(hub: &Hub, bytes: &[u8]) -> (Vec<String>, Result<(), Broken>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut near = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        let far = listener.accept().expect("a connection").0;
        near.write_all(bytes).expect("a socket's buffer holds it");
        near.shutdown(Shutdown::Write).expect("it is open");
        let outcome = serve(&far, "test", hub);
        drop(far);
        let mut answers = Vec::new();
        let mut wire = Wire::new(Timed::new(&near, LIMITS));
        while let Ok(Some(event)) = wire.next() {
            answers.push(event.kind);
        }
        (answers, outcome)
    }

    fn chunk(data: &Value, payload: &[u8]) -> Vec<u8> {
        let data = data.to_string();
        let line = json!({ "type": "audio-chunk", "data_length": data.len(), "payload_length": payload.len() });
        [format!("{line}\n{data}").as_bytes(), payload].concat()
    }

    #[test]
    fn a_stream_needs_no_audio_start_and_a_second_one_forgets_the_first() {
        let hub = hub();
        let format = json!({ "rate": 8_000, "width": 2, "channels": 1 });
        let quiet = chunk(&format, &[0; 320]);
        let stop = encode("audio-stop", &json!({}));
        let (answers, outcome) = converse(&hub, &[quiet.clone(), stop.clone(), quiet.clone(), stop.clone()].concat());
        assert!(outcome.is_ok() && answers == ["not-detected", "not-detected"], "{answers:?} {outcome:?}");
        let start = encode("audio-start", &json!({ "rate": 48_000, "width": 2, "channels": 3 }));
        let (answers, outcome) = converse(&hub, &[quiet, start, stop].concat());
        assert!(outcome.is_ok() && answers == ["not-detected"], "{answers:?} {outcome:?}");
    }

    /// How many words go to the ways out if a client sends all this and leaves.
    fn words(hub: &Hub, bytes: &[u8], takes_answers: bool) -> u64 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut near = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        let far = listener.accept().expect("a connection").0;
        if !takes_answers {
            far.shutdown(Shutdown::Write).expect("it is open");
        }
        let before = hub.meters.detections();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&far, "test", hub));
            near.write_all(bytes).expect("it reads");
            near.shutdown(Shutdown::Write).expect("it is open");
        });
        hub.meters.detections() - before
    }

    #[test]
    fn every_word_goes_out_also_if_the_client_takes_no_answer_or_leaves_without_an_end() {
        // Low enough for any model that knows the words at all.
        let hub = hub_at(SpotterConfig { threshold: Some(0.05), ..SpotterConfig::default() });
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hello-stop.wav");
        let sound: Vec<u8> = kws_live::audio::decode_16k(&file)
            .expect("the fixture")
            .iter()
            .flat_map(|s| ((s * 32_768.0) as i16).to_le_bytes())
            .collect();
        let format = json!({ "rate": 16_000, "width": 2, "channels": 1 });
        let stop = encode("audio-stop", &json!({}));
        let ended = |sound: &[u8]| [chunk(&format, sound), stop.clone()].concat();
        let all = words(&hub, &ended(&sound), true);
        assert!(all >= 2, "{all}");
        // Once the ways out are gone they are counted as dropped.
        let plan = Plan::open(&ServiceArgs::default(), false).expect("nothing is asked for");
        let feed = Feed {
            source: "a test".into(),
            meters: hub.meters.clone(),
            keywords: Vec::new(),
            clips: None,
            stop: Stop::new(|| ()),
            wyoming: None,
        };
        hub.connect(plan.start(feed, "test".into(), None, None, Patience::default()).expect("no threads"));
        assert_eq!(words(&hub, &ended(&sound), true), all);
        let (counts, _) = hub.disconnect().expect("they are there").finish();
        assert_eq!(counts.dropped(), 0);
        assert_eq!((words(&hub, &ended(&sound), true), counts.dropped()), (all, all));
        // All of them come out of one chunk, and the first answer cannot be sent.
        assert_eq!(words(&hub, &ended(&sound), false), all);
        // Around the end of `hello`, where it has been said and does not count yet.
        for end in (600..1_600).step_by(100) {
            let sound = &sound[..end * 32];
            assert_eq!(words(&hub, &chunk(&format, sound), true), words(&hub, &ended(sound), true), "{end} ms");
        }
    }

    /// Values of the right kind, of the wrong kind, and far out.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            Just(json!("x")),
            Just(json!([])),
            Just(json!(["hello", 1, "STOP"])),
            Just(json!(1e300)),
            any::<i64>().prop_map(Value::from),
            prop::sample::select(vec![0, 1, 2, 3, 4_000, 8_000, 16_000, 44_100, 48_000, 384_000]).prop_map(Value::from),
        ]
    }

    fn event() -> impl Strategy<Value = Vec<u8>> {
        let kinds = vec!["describe", "detect", "audio-start", "audio-stop", "ping", "other"];
        let wild = (prop::sample::select(kinds), prop::collection::vec(value(), 5)).prop_map(|(kind, v)| {
            encode(
                kind,
                &json!({ "rate": v[0], "width": 2, "channels": 1, "timestamp": v[1], "names": v[2], "text": v[3] }),
            )
        });
        let rate = prop::sample::select(vec![4_000, 16_000, 44_101]);
        let good =
            (rate, 1..3_u64, value(), prop::collection::vec(any::<u8>(), 0..400)).prop_map(|(r, c, t, sound)| {
                let data = json!({ "rate": r, "width": 2, "channels": c, "timestamp": t });
                let whole = sound.len() / 4 * 4;
                [encode("audio-start", &data), chunk(&data, &sound[..whole]), chunk(&json!({}), &sound)].concat()
            });
        prop_oneof![wild, good]
    }

    #[test]
    fn any_conversation_ends_in_order() {
        let hub = hub();
        let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(events in prop::collection::vec(event(), 0..8))| {
            let (answers, outcome) = converse(&hub, &events.concat());
            let told = answers.iter().filter(|kind| *kind == "error").count();
            prop_assert_eq!(told, usize::from(outcome.is_err()), "{:?} {:?}", answers, outcome);
        });
    }
}
