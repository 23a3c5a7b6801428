//! `--check-config`: everything that can be wrong before the first sound, as far as it can be known without opening a device.

use anyhow::{anyhow, ensure};
use kws_live::audio::{FileSource, Pace};
use kws_live::detect::Keyword;
use kws_live::model::Bundle;

use super::listen::{Listening, Wanted};
use super::trial;
use crate::args::{Input, LiveArgs};
use crate::events::Plan;
use crate::output::print;
use crate::service::config::Of;

/// One line and status 0, or an error.
pub fn run(args: &LiveArgs) -> anyhow::Result<bool> {
    let wanted = Wanted::read(&args.keywords)?.some()?;
    options(args)?;
    Plan::check(&args.service)?;
    // The service itself may run, and have its ports.
    if let Some(trouble) = trial::run(args).into_iter().find(|trouble| !trouble.in_use) {
        return Err(trouble.error);
    }
    source(args).of("input")?;
    let Listening { bundle, keywords, .. } = Listening::load(&args.model, &wanted)?;
    near(args, &bundle, &keywords)?;
    let names = keywords.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
    let file = args.service.config.as_deref().map(|f| f.display().to_string()).unwrap_or_default();
    print(&format!("{file}: good, listens for {names}\n"))?;
    Ok(true)
}

/// Whether the options about the sound go together; also at the start.
pub(super) fn options(args: &LiveArgs) -> anyhow::Result<()> {
    args.model.check().map_err(anyhow::Error::msg).of("provider")?;
    let (microphone, mic) = (&args.microphone, args.input == Input::Mic);
    for (given, option, does) in
        [(microphone.device.is_some(), "device", "names"), (microphone.wait_for_device, "wait-for-device", "waits for")]
    {
        if given && !mic {
            let text = format!("--{option} {does} a microphone; it cannot be used with --input FILE");
            return Err(anyhow!(text)).of(option);
        }
    }
    ensure!(
        cfg!(feature = "mic") || !mic || args.service.wyoming.is_some(),
        "this build has no microphone; use --input FILE, or rebuild with `--features mic`"
    );
    Ok(())
}

/// Whether a recording is there and can be played.
fn source(args: &LiveArgs) -> anyhow::Result<()> {
    if let Input::File(path) = &args.input {
        ensure!(!path.is_dir(), "{} is a folder; name a recording with --input", path.display());
        // A named pipe would have to be waited for.
        if path.is_file() || !path.exists() {
            FileSource::open(path, Pace::FlatOut)?;
        }
    }
    Ok(())
}

/// Whether there can be near misses, where they are to be saved; also at the start.
pub(super) fn near(args: &LiveArgs, bundle: &Bundle, keywords: &[Keyword]) -> anyhow::Result<()> {
    let Some(near) = args.service.save_near else { return Ok(()) };
    let (scorer, own) = (&bundle.manifest.scorer, &args.keywords);
    let common = own.threshold.unwrap_or_else(|| scorer.threshold_at(own.sensitivity));
    let thresholds = keywords.iter().map(|keyword| keyword.threshold.unwrap_or(common));
    // Without a keyword, as in the terminal UI before one is typed, that of those to come.
    if scorer.threshold_at(near) < thresholds.reduce(f32::max).unwrap_or(common) {
        return Ok(());
    }
    let all_own = !keywords.is_empty() && keywords.iter().all(|keyword| keyword.threshold.is_some());
    let what = match own.threshold {
        _ if all_own => "high enough for scores below the keywords' own thresholds".into(),
        Some(threshold) => format!("high enough for scores below --threshold {threshold}"),
        None => format!("above --sensitivity {}", own.sensitivity),
    };
    Err(anyhow!("--save-near {near} finds no near misses; it must be {what}")).of("save-near")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_wait_for_keywords_that_are_typed_later() {
        let bundle = Bundle::embedded().expect("the built-in model");
        let mut args = LiveArgs::default();
        (args.keywords.sensitivity, args.service.save_near) = (0.5, Some(0.75));
        near(&args, &bundle, &[]).expect("they lie between the two");
        args.service.save_near = Some(0.5);
        let error = near(&args, &bundle, &[]).expect_err("there are none");
        assert!(format!("{error:#}").contains("above --sensitivity 0.5"), "{error:#}");
    }
}
