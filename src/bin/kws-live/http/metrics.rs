//! /health for people and watchdogs, /metrics for Prometheus.

use std::fmt::{Display, Write};
use std::time::Duration;

use serde_json::json;

use super::sink::State;

/// A stream that has not moved for so long is not well.
const STALLED: Duration = Duration::from_secs(10);

/// Whether it is well, and an object that says why.
pub fn health(state: &State) -> (bool, String) {
    let (counts, meters, still) = (&state.counts, &state.counts.meters, state.still());
    // Clients come and go: without one nothing is heard, and nothing is wrong.
    let status = if meters.device().is_some_and(|device| !device.up()) {
        "lost"
    } else if still < STALLED || counts.wyoming.is_some() {
        "ok"
    } else {
        "stalled"
    };
    let mut body = json!({
        "status": status,
        "source": state.source(),
        "keywords": state.keywords(),
        "uptime": state.started.elapsed().as_secs_f64(),
        "heard": meters.seconds(),
        "still": still.as_secs_f64(),
        "detections": meters.detections(),
        "lost_samples": meters.lost(),
        "dropped_events": counts.dropped(),
        "real_time_factor": meters.real_time_factor(),
        "latency": meters.latency(),
    });
    if let Some(wyoming) = &counts.wyoming {
        body["clients"] = wyoming.clients().into();
    }
    if let Some(device) = meters.device() {
        body["device"] = json!({ "up": device.up(), "losses": device.losses(), "unclosed": device.unclosed() });
    }
    #[cfg(feature = "mqtt")]
    if let Some(mqtt) = &counts.mqtt {
        body["mqtt"] = json!({ "connected": mqtt.connected(), "waiting": mqtt.waiting(), "dropped": mqtt.dropped() });
    }
    (status == "ok", format!("{body}\n"))
}

/// The text format of Prometheus.
pub fn text(state: &State) -> String {
    let (counts, meters) = (&state.counts, &state.counts.meters);
    let mut out = Text(String::new());
    out.head("kws_detections_total", "counter", "Detections by keyword.");
    for (keyword, count) in state.detections() {
        out.value(&format!("kws_detections_total{{keyword=\"{}\"}}", label(&keyword)), count);
    }
    out.counter(
        "kws_lost_samples_total",
        "Samples lost before they were heard, at the rate of the source.",
        meters.lost(),
    );
    out.counter(
        "kws_device_overruns_total",
        "Times that the sound system itself lost sound.",
        meters.levels().overruns(),
    );
    if let Some(device) = meters.device() {
        out.gauge("kws_device_up", "Whether the microphone is there, 1 or 0.", u8::from(device.up()));
        out.counter("kws_device_losses_total", "Times that the microphone was lost.", device.losses());
        out.gauge("kws_device_unclosed", "Streams that the sound system has not let go of yet.", device.unclosed());
    }
    out.counter("kws_dropped_events_total", "Events that a receiver was too slow for.", counts.dropped());
    out.counter("kws_clipped_samples_total", "Samples at full scale.", meters.levels().clipped());
    out.gauge("kws_heard_seconds", "Position in the stream.", meters.seconds());
    out.gauge("kws_real_time_factor", "Time spent on a second of sound.", meters.real_time_factor());
    if let Some(latency) = meters.latency() {
        out.gauge("kws_latency_seconds", "From the end of the last word to its detection.", latency);
    }
    out.gauge("kws_still_seconds", "Time since sound came last.", state.still().as_secs_f64());
    out.gauge("kws_uptime_seconds", "Time since the start.", state.started.elapsed().as_secs_f64());
    if let Some(exec) = &counts.exec {
        out.counter("kws_exec_started_total", "Programs started by --exec.", exec.started());
        out.counter("kws_exec_failed_total", "Programs that failed, were killed or could not start.", exec.failed());
        out.counter("kws_exec_skipped_total", "Detections while the program still ran.", exec.skipped());
    }
    if let Some(save) = &counts.save {
        out.counter("kws_clips_saved_total", "Clips written by --save.", save.saved());
        out.counter("kws_clips_lost_total", "Clips that could not be written.", counts.unsaved());
        out.counter("kws_clips_deleted_total", "Old clips deleted to keep the quota.", save.deleted());
    }
    if let Some(wyoming) = &counts.wyoming {
        out.gauge("kws_wyoming_clients", "Wyoming clients that are connected.", wyoming.clients());
        out.counter("kws_wyoming_connections_total", "Connections of Wyoming clients.", wyoming.connections());
        out.counter("kws_wyoming_refused_total", "Connections over the limit on clients.", wyoming.refused());
        out.counter("kws_wyoming_broken_total", "Connections closed because of an error.", wyoming.broken());
        out.counter("kws_wyoming_idle_total", "Connections closed because nothing came.", wyoming.idle());
    }
    #[cfg(feature = "mqtt")]
    if let Some(mqtt) = &counts.mqtt {
        out.gauge("kws_mqtt_connected", "Whether the MQTT broker is there.", u8::from(mqtt.connected()));
        out.gauge("kws_mqtt_waiting", "Events that wait for the broker.", mqtt.waiting());
        out.counter("kws_mqtt_connections_total", "Times that the broker has been reached.", mqtt.connections());
        out.counter("kws_mqtt_delivered_total", "Events that the broker has acknowledged.", mqtt.delivered());
        out.counter("kws_mqtt_repeated_total", "Events sent again, marked as duplicates.", mqtt.repeated());
        out.counter("kws_mqtt_dropped_total", "Events that will not reach the broker.", mqtt.dropped());
    }
    out.0
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // A String takes everything.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.value(name, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.value(name, value);
    }

    fn value(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }
}

/// A keyword between quotes.
fn label(keyword: &str) -> String {
    keyword.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kws_live::spotter::KeywordId;

    use super::*;
    use crate::events::{Counts, Notice};

    #[test]
    fn both_say_what_is_known() {
        let counts = Counts::default();
        let state = State::new("a test".into(), counts);
        state.take(Notice::Added(KeywordId(0), "say \"hi\"".into()));
        let (good, body) = health(&state);
        let body: serde_json::Value = serde_json::from_str(&body).expect("an object");
        assert!(good && body["status"] == "ok" && body["latency"].is_null(), "{body}");
        let text = text(&state);
        assert!(text.contains("kws_detections_total{keyword=\"say \\\"hi\\\"\"} 0\n"), "{text}");
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let value = line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
            assert!(value.is_some_and(f64::is_finite), "{line}");
        }
        assert!(!text.contains("kws_exec") && !text.contains("kws_clips"), "{text}");
    }

    #[test]
    fn a_stream_that_stands_still_is_not_well_until_it_moves() {
        let told = |state: &State| {
            let (good, body) = health(state);
            let body: serde_json::Value = serde_json::from_str(&body).expect("an object");
            (good, body["status"].as_str().expect("a word").to_owned())
        };
        let state = State::new("a test".into(), Counts::default());
        state.stood_still(STALLED);
        assert_eq!(told(&state), (false, "stalled".into()));
        state.counts.meters.add_heard(1_600);
        assert_eq!(told(&state), (true, "ok".into()));
        // Clients may be silent.
        let state = State::new("a test".into(), Counts { wyoming: Some(Arc::default()), ..Counts::default() });
        state.stood_still(STALLED);
        assert_eq!(told(&state), (true, "ok".into()));
    }
}
