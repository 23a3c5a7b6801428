//! `phones`: how words will be listened for, and where that comes from.

use kws_live::enrol::Enroller;
use kws_live::text::{arpabet, parse_keywords};

use super::bundle;
use crate::args::PhonesArgs;
use crate::output::print;

pub fn run(args: &PhonesArgs) -> anyhow::Result<bool> {
    let mut specs = Vec::new();
    for word in &args.words {
        specs.extend(parse_keywords(word)?);
    }
    let mut enroller = Enroller::new(&bundle(&args.model)?, args.model.choice())?;
    let width = specs.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    for spec in &specs {
        for way in enroller.pronouncer().explain(spec)? {
            let phones = arpabet(&way.phones);
            if !print(&format!("{:width$}  {phones}  ({})\n", spec.name, way.source))? {
                return Ok(true);
            }
        }
    }
    Ok(true)
}
