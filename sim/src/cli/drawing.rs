//! From what seeds draw: the options that a campaign and a replay share.

use crate::canary::{self, Canary};
use crate::generate::{Options, Workload};
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
    /// What clients mostly do: mixed, or exactly-once, which takes records over to another topic in transactions.
    #[arg(long, value_name = "NAME", default_value = "mixed", value_parser = workload)]
    workload: Workload,
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

fn workload(name: &str) -> Result<Workload, String> {
    let all = [Workload::Mixed, Workload::ExactlyOnce];
    let found = all.into_iter().find(|workload| workload.name() == name);
    found.ok_or_else(|| format!("no workload is named {name:?}; there are mixed and exactly-once"))
}

impl Drawing {
    pub(crate) fn options(&self) -> Options {
        let (profile, workload) = (self.profile.0, self.workload);
        Options { ops: self.ops, profile, workload, ..Options::default() }
    }

    /// The planted bug, if one is asked for. Fails with a message if it is not known.
    pub(crate) fn canary(&self) -> Result<Option<Canary>, String> {
        let Some(name) = &self.canary else { return Ok(None) };
        canary::find(name).map(Some).ok_or_else(|| format!("no canary is named {name:?}"))
    }

    /// The command that runs one seed again: what stands before the seed's
    /// number, and what behind it.
    pub(crate) fn replay(&self) -> (String, String) {
        let program = std::env::args().next().unwrap_or_else(|| "merkql-sim".to_owned());
        let profile = self.profile.0.map(|profile| format!(" --profile {profile}"));
        let has_ops = self.ops != Options::default().ops;
        let ops = has_ops.then(|| format!(" --ops {}", self.ops));
        let is_mixed = self.workload == Workload::Mixed;
        let workload = (!is_mixed).then(|| format!(" --workload {}", self.workload.name()));
        let canary = self.canary.as_ref().map(|name| format!(" --canary {}", quoted(name)));
        let arguments = [profile, ops, workload, canary].into_iter().flatten().collect();
        (format!("{} replay ", quoted(&program)), arguments)
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parsed(arguments: &str) -> Drawing {
        let command = Drawing::augment_args(clap::Command::new("run"));
        let words = ["run"].into_iter().chain(arguments.split_whitespace());
        Drawing::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    }

    #[test]
    fn the_command_that_runs_a_seed_again_draws_it_from_the_same_options() {
        for arguments in [
            "",
            "--ops 250",
            "--workload exactly-once",
            "--profile strict",
            "--profile posix --ops 7",
        ] {
            let drawing = parsed(arguments);
            let (before, after) = drawing.replay();
            assert!(before.ends_with(" replay "), "{before}");
            assert_eq!(after.trim(), arguments);
            assert_eq!(parsed(&after).options(), drawing.options());
        }
        assert_eq!(parsed("--profile swarm").options(), Options::default());
        assert_eq!(parsed("--canary x-y").replay().1, " --canary x-y");
    }

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(quoted("target/release/merkql-sim"), "target/release/merkql-sim");
        assert_eq!(quoted("my sim's"), r"'my sim'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
