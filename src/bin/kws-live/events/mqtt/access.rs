//! How to reach the broker, from the options.

use std::sync::Arc;

use anyhow::anyhow;
use rustls::ClientConfig;

use super::tls;
use super::topics::Topics;
use crate::args::{Broker, MqttArgs};
use crate::net::secret;
use crate::service::config::Of;

/// How to reach the broker.
pub struct Access {
    pub broker: Broker,
    pub password: Option<String>,
    pub tls: Option<Arc<ClientConfig>>,
    /// Name of the client.
    pub client: String,
    /// Where the broker says `offline` if this program does not.
    pub availability: String,
}

impl Access {
    /// Whether others on the network could read the password.
    pub fn shows_password(&self) -> bool {
        let host = &self.broker.host;
        let here = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        self.broker.user.is_some() && self.tls.is_none() && !here
    }
}

/// Checks the options; `None` if no broker is named.
pub fn check(args: &MqttArgs) -> anyhow::Result<Option<(Access, Topics)>> {
    let Some(broker) = &args.mqtt else {
        for (given, name) in [
            (args.mqtt_password.is_some(), "mqtt-password"),
            (args.mqtt_ca.is_some(), "mqtt-ca"),
            (args.mqtt_topic.is_some(), "mqtt-topic"),
            (args.mqtt_discovery.is_some(), "mqtt-discovery"),
            (args.mqtt_spool.is_some(), "mqtt-spool"),
            (args.mqtt_spool_max_events.is_some(), "mqtt-spool-max-events"),
            (args.mqtt_spool_max_kb.is_some(), "mqtt-spool-max-kb"),
        ] {
            if given {
                return Err(anyhow!("--{name} does nothing without --mqtt, which names the broker")).of(name);
            }
        }
        return Ok(None);
    };
    let password = match args.mqtt_password.as_ref().or(broker.password.as_ref()) {
        Some(password) => Some(password.clone()),
        None => secret("KWS_MQTT_PASSWORD")?,
    };
    if args.mqtt_password.is_some() && broker.user.is_none() {
        return Err(anyhow!("--mqtt-password belongs to a user; name one: --mqtt mqtt://USER@HOST"))
            .of("mqtt-password");
    }
    if args.mqtt_ca.is_some() && !broker.tls {
        return Err(anyhow!("--mqtt-ca is for TLS; write --mqtt mqtts://{}:PORT", broker.host)).of("mqtt-ca");
    }
    let tls = broker.tls.then(|| tls::config(args.mqtt_ca.as_deref())).transpose().of("mqtt-ca")?;
    let topics = Topics::new(args.mqtt_topic.as_deref(), args.mqtt_discovery.as_deref().unwrap_or("homeassistant"));
    let (client, availability) = (topics.client(), topics.availability());
    Ok(Some((Access { broker: broker.clone(), password, tls, client, availability }, topics)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str) -> MqttArgs {
        MqttArgs { mqtt: (!url.is_empty()).then(|| url.parse().expect("well formed")), ..MqttArgs::default() }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        assert!(check(&args("")).is_ok() && check(&args("mqtt://me@localhost")).is_ok());
        let some = |text: &str| Some(text.to_owned());
        for (broken, part) in [
            (MqttArgs { mqtt_topic: some("a"), ..args("") }, "--mqtt-topic"),
            (MqttArgs { mqtt_discovery: some("off"), ..args("") }, "--mqtt-discovery"),
            (MqttArgs { mqtt_spool_max_kb: Some(7), ..args("") }, "--mqtt-spool-max-kb"),
            (MqttArgs { mqtt_password: some("a"), ..args("") }, "--mqtt-password"),
            (MqttArgs { mqtt_password: some("a"), ..args("mqtt://host") }, "USER"),
            (MqttArgs { mqtt_ca: Some("a.pem".into()), ..args("mqtt://host") }, "mqtts://host"),
            (MqttArgs { mqtt_ca: Some("no-such.pem".into()), ..args("mqtts://host") }, "no-such.pem"),
        ] {
            let error = format!("{:#}", check(&broken).map(|_| ()).expect_err(part));
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_password_that_others_could_read_is_noticed() {
        for (url, shown) in [
            ("mqtt://me@broker.lan", true),
            ("mqtt://broker.lan", false),
            ("mqtt://me@127.0.0.1", false),
            ("mqtt://me@[::1]", false),
            ("mqtt://me@localhost", false),
        ] {
            let (access, _) = check(&args(url)).expect("good").expect("a broker");
            assert_eq!(access.shows_password(), shown, "{url}");
        }
    }
}
