//! From what seeds draw: the options that a campaign and a replay share.

use crate::canary::{self, Canary};
use crate::generate::Options;
use crate::profile::Profile;

/// How scenarios are drawn from seeds.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Drawing {
    /// What power cuts may keep: strict, ext4, posix or hostile; `swarm` draws one for each seed.
    #[arg(long, value_name = "NAME", default_value = "swarm", value_parser = profile)]
    profile: ProfileChoice,
    /// About how many operations the clients of a seed do.
    #[arg(long, value_name = "N", default_value_t = Options::default().ops)]
    ops: u32,
    /// Plants a bug of this name in the log.
    #[arg(long, value_name = "NAME")]
    canary: Option<String>,
}

/// A profile, or one for each seed.
#[derive(Debug, Clone, Copy)]
struct ProfileChoice(Option<Profile>);

fn profile(name: &str) -> Result<ProfileChoice, String> {
    if name == "swarm" {
        return Ok(ProfileChoice(None));
    }
    let chosen = name.parse().map_err(|error| format!("{error}, or swarm"))?;
    Ok(ProfileChoice(Some(chosen)))
}

impl Drawing {
    pub(crate) fn options(&self) -> Options {
        Options { ops: self.ops, profile: self.profile.0 }
    }

    /// The planted bug, if one is asked for. Fails with a message if it is not known.
    pub(crate) fn canary(&self) -> Result<Option<Canary>, String> {
        let Some(name) = &self.canary else { return Ok(None) };
        canary::find(name).map(Some).ok_or_else(|| format!("no canary is named {name:?}"))
    }
}
