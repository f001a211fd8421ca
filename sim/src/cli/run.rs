//! `merkql-sim run`: a campaign.

use super::Status;
use super::output::Output;
use crate::generate::{Options, scenario};
use crate::world::{Manner, execute};

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> Status {
    let mut status = Status::Clean;
    for seed in 0..20 {
        let run = execute(&scenario(seed, &Options::default()), &Manner::default());
        for witness in run.judge().witnesses() {
            args.output.line(format!("seed {seed}: {}", witness.sentence));
            status = Status::Anomaly;
        }
    }
    status
}
