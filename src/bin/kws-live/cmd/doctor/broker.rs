//! The broker: it can be reached, and lets this program in.

use super::{Finding, Patient};

#[cfg(feature = "mqtt")]
pub fn reach(patient: &mut Patient) -> Finding {
    if patient.unread {
        return Finding::skipped("the configuration cannot be read");
    }
    match crate::events::mqtt::Mqtt::reach(&patient.live.service.mqtt) {
        Ok(Some(place)) => Finding::good(format!("{place} lets kws-live in")),
        Ok(None) => Finding::good("none to look at: --mqtt names none"),
        Err(error) => Finding::error(&error),
    }
}

#[cfg(not(feature = "mqtt"))]
pub fn reach(_: &mut Patient) -> Finding {
    Finding::good("none to look at: this program was built without MQTT")
}
