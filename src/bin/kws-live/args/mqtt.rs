//! Options for the way to an MQTT broker.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where events go by MQTT, and what waits while the broker is away.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct MqttArgs {
    /// Publish detections to an MQTT 5 broker: mqtt://[USER[:PASSWORD]@]HOST[:PORT], or mqtts:// for TLS
    #[arg(long, value_name = "URL")]
    pub mqtt: Option<Broker>,
    /// Password for the broker; KWS_MQTT_PASSWORD in the environment does it too
    #[arg(long, value_name = "TEXT")]
    pub mqtt_password: Option<String>,
    /// Certificates (PEM) that vouch for the broker; without it those of the system
    #[arg(long, value_name = "FILE")]
    pub mqtt_ca: Option<PathBuf>,
    /// Publish below this topic; without it kws-live/ and the name of this machine
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    pub mqtt_topic: Option<String>,
    /// Announce keywords to Home Assistant below this topic; off: not at all [default: homeassistant]
    #[arg(long, value_name = "TOPIC|off", value_parser = topic)]
    pub mqtt_discovery: Option<String>,
    /// Keep events that wait for the broker in this folder, so that they outlive the program
    #[arg(long, value_name = "DIR")]
    pub mqtt_spool: Option<PathBuf>,
    /// Events that may wait for the broker; the oldest go first [default: 1000]
    #[arg(long, value_name = "N", value_parser = super::count, allow_negative_numbers = true)]
    pub mqtt_spool_max_events: Option<u32>,
    /// Kilobytes of them; the oldest go first [default: 1000]
    #[arg(long, value_name = "KB", value_parser = super::count, allow_negative_numbers = true)]
    pub mqtt_spool_max_kb: Option<u32>,
}

/// A broker, as its URL names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Whether it is reached by TLS.
    pub tls: bool,
    /// Name or address; an IPv6 address keeps its brackets.
    pub host: String,
    /// 1883, or 8883 with TLS, if the URL has none.
    pub port: u16,
    /// Who asks.
    pub user: Option<String>,
    /// A better place for it is the file of `--config` or the environment: others can read a command line.
    pub password: Option<String>,
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "expected mqtt://[USER[:PASSWORD]@]HOST[:PORT], or mqtts:// for TLS";
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err(shape.into()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The last one: a password that was not written as %40 may hold others.
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        if place.contains(['/', '?', '#']) {
            return Err("nothing may follow the host and the port; the topic is given by --mqtt-topic".into());
        }
        let (user, password) = match login {
            None => (None, None),
            Some(login) => match login.split_once(':') {
                Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
                None => (Some(decoded(login)?), None),
            },
        };
        if user.as_deref() == Some("") {
            return Err("the user before the @ is empty".into());
        }
        // The colons of an IPv6 address stand between brackets.
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|p| *p > 0);
                (host, port.ok_or("its port must be a number from 1 to 65535")?)
            }
            _ => (place, if tls { 8883 } else { 1883 }),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(char::is_whitespace) || (host.contains([':', '[', ']']) && !bracketed) {
            // Not what it is: without its @ a login is taken for the host.
            return Err(format!("there is no host in it; {shape}"));
        }
        if tls && bracketed {
            return Err("certificates cannot be checked against an IPv6 address; give the broker's name".into());
        }
        Ok(Self { tls, host: host.into(), port, user, password })
    }
}

impl fmt::Display for Broker {
    /// Without the user and the password: for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What stands for itself or as `%` and two digits.
fn decoded(text: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
            let value = std::str::from_utf8(&digits).ok().filter(|d| d.len() == 2);
            let value = value.and_then(|d| u8::from_str_radix(d, 16).ok());
            out.push(value.ok_or("a % in the user or the password must be written as %25")?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| "the user or the password is no text".into())
}

/// A topic that can be published to and continued.
fn topic(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 200 || text.starts_with(['/', '$']) || text.ends_with('/') {
        return Err("expected a topic such as house/kws, without / at its ends".into());
    }
    if text.contains(['+', '#']) || text.contains(char::is_control) {
        return Err("a topic that is published to holds no + and no #".into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_user() {
        let login = |text: &str| Some(text.to_owned());
        for (url, tls, host, port, user, password) in [
            ("mqtt://localhost", false, "localhost", 1883, None, None),
            ("mqtts://broker.lan/", true, "broker.lan", 8883, None, None),
            ("mqtt://10.0.0.1:1884", false, "10.0.0.1", 1884, None, None),
            ("mqtt://[::1]:1884", false, "[::1]", 1884, None, None),
            ("mqtt://[fe80::1]", false, "[fe80::1]", 1883, None, None),
            ("mqtt://me@host", false, "host", 1883, login("me"), None),
            ("mqtt://me:a%40b:c@host:7", false, "host", 7, login("me"), login("a@b:c")),
            ("mqtt://me:p@ss@host", false, "host", 1883, login("me"), login("p@ss")),
            ("mqtt://me:@host", false, "host", 1883, login("me"), login("")),
        ] {
            assert_eq!(url.parse(), Ok(Broker { tls, host: host.to_owned(), port, user, password }), "{url}");
        }
    }

    #[test]
    fn a_broken_url_says_what_is_wrong() {
        for (url, part) in [
            ("", "mqtt://"),
            ("localhost:1883", "mqtt://"),
            ("http://localhost", "mqtt://"),
            ("mqtt://", "no host"),
            ("mqtt://:1883", "no host"),
            ("mqtt://host:0", "port"),
            ("mqtt://host:65536", "port"),
            ("mqtt://host:", "port"),
            ("mqtt://::1", "no host"),
            ("mqtt://ho st", "no host"),
            ("mqtt://host/topic", "--mqtt-topic"),
            ("mqtt://@host", "user"),
            ("mqtt://me:100%@host", "%25"),
            ("mqtt://me:%ff@host", "no text"),
            ("mqtts://[::1]", "name"),
        ] {
            let error = url.parse::<Broker>().expect_err(url);
            assert!(error.contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let broker: Broker = "mqtts://me:secret@host".parse().expect("well formed");
        assert_eq!(format!("{broker} {broker:?}"), "mqtts://host:8883 mqtts://host:8883");
    }

    #[test]
    fn topics_can_be_published_to() {
        for good in ["kws", "house/kws live", "haus/küche", "off"] {
            assert_eq!(topic(good).as_deref(), Ok(good));
        }
        for broken in ["", "/", "/a", "a/", "a/#", "+/a", "$SYS/a", "a\nb", &"x".repeat(201)] {
            assert!(topic(broken).is_err(), "{broken}");
        }
    }
}
