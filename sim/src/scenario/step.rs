//! What clients and the nemesis do, step by step.

use super::strike::Death;
use serde::{Deserialize, Serialize};

/// One thing that somebody does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its number, which no other step and no strike of the scenario has. Faults
    /// refer to it, and the values of its records begin with it.
    pub id: u32,
    /// Who does it: the name of a client. The nemesis's own steps are its own.
    #[serde(default = "nemesis", skip_serializing_if = "is_nemesis")]
    pub by: String,
    /// What it does.
    pub does: Action,
}

fn nemesis() -> String {
    "nemesis".to_owned()
}

fn is_nemesis(name: &str) -> bool {
    name == "nemesis"
}

/// What can be done. A step that has lost its sense, such as a wait for a send
/// that was never made, does nothing, so that steps can be taken out of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Creates a topic, which retains what the broker's default says at that time.
    CreateTopic {
        /// Its name.
        topic: String,
        /// How many partitions it gets.
        #[serde(default = "one")]
        partitions: u32,
        /// Only the last record of each key is kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        compacted: bool,
    },
    /// Deletes a topic. One that is created later under its name is another one.
    DeleteTopic {
        /// Its name.
        topic: String,
    },
    /// Gives a topic more partitions.
    AddPartitions {
        /// Its name.
        topic: String,
        /// How many more.
        #[serde(default = "one")]
        more: u32,
    },
    /// Deletes the records of a partition but for the last ones.
    DeleteRecords {
        /// The topic.
        topic: String,
        /// The partition.
        #[serde(default, skip_serializing_if = "is_zero")]
        partition: u32,
        /// How many are kept.
        #[serde(default)]
        keep: u64,
    },
    /// Sends records together.
    Send {
        /// The records.
        records: Vec<RecordSpec>,
        /// The producer id under whose next sequence they go, if under one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        producer: Option<u64>,
        /// Hands them over without waiting: a later [`Action::Wait`] does.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        later: bool,
    },
    /// Waits for a send that was made with `later`.
    Wait {
        /// The step that made it.
        on: u32,
    },
    /// Repeats the last send of a producer id, under its sequence: the one that
    /// has no answer yet, or one that has.
    Retry {
        /// The producer id.
        producer: u64,
    },
    /// Subscribes to topics as a member of a group, in the place of any before.
    Subscribe {
        /// The group.
        group: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// Polls once, without waiting.
    Poll,
    /// Polls once, and waits so many milliseconds for records.
    PollWaiting {
        /// How long.
        timeout_ms: u64,
    },
    /// Commits the positions.
    Commit,
    /// Moves the position of an owned partition back by so many records.
    SeekBack {
        /// How many.
        records: u64,
    },
    /// Takes records over to another topic, as a member of a group: polls once, and
    /// sends what it makes of each record in one transaction with its offsets.
    /// Joins the group before that if it has not, and again after a failure.
    Transfer {
        /// The group.
        group: String,
        /// The topics that are read.
        from: Vec<String>,
        /// The topic that is written.
        to: String,
        /// The transaction is dropped in place of its commit.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        abort: bool,
    },
    /// Leaves the group.
    Leave,
    /// Takes the root of every partition, a proof of one of its records, and a
    /// proof that it is consistent with roots taken before.
    Audit,
    /// Triggers maintenance: compaction, and a checkpoint.
    Maintain,
    /// Stops the log and starts it again, with harm in between if there is any.
    Restart(Restart),
    /// Lets time pass.
    Sleep {
        /// How much.
        ms: u64,
    },
    /// The wall clock jumps; forward, or back if the number is negative.
    ClockJump {
        /// How far.
        ms: i64,
    },
    /// The wall clock runs faster or slower from here on.
    ClockSkew {
        /// Wall microseconds in a second.
        rate_ppm: u32,
    },
    /// The disk holds only so much more than it does now; without a number, as
    /// much as anybody likes.
    DiskRoom {
        /// How many bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// The process can hold only so many files open; without a number, any.
    HandleLimit {
        /// How many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u64>,
    },
    /// Remembers what the disk is now, for [`Harm::RollBack`].
    Remember,
}

fn one() -> u32 {
    1
}

/// A record to be sent. Its value begins with the numbers of its step and of its
/// place in it, so that no two are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSpec {
    /// The topic.
    pub topic: String,
    /// The partition: a key is found that goes there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub partition: u32,
    /// How long the value is at least.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u32,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "is_text")]
    pub kind: RecordKind,
}

/// What a record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// Text, without headers.
    #[default]
    Text,
    /// A value that is no text, and headers of which two have one name.
    Bytes,
    /// A key, a header, and no value.
    Tombstone,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_text(kind: &RecordKind) -> bool {
    *kind == RecordKind::Text
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How the log is stopped and started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// How it stops.
    pub how: Stop,
    /// What is done to the disk while nobody runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub harm: Vec<HarmAt>,
    /// How many records topics retain that are created from then on. 0 is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_records: Option<u64>,
}

/// How a process stops between two steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// It closes the log.
    Close,
    /// It dies, at no operation in particular.
    Death(Death),
}

/// Harm to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarmAt {
    /// The file, below the log's directory; `*` stands for any characters.
    pub file: String,
    /// Which of the files that match, in the order of their names.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nth: u32,
    /// What is done to it.
    pub harm: Harm,
}

/// What is done to a file while nobody runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are the same throughout: where, and how many bytes")]
pub enum Harm {
    /// One bit is flipped.
    FlipBit { at: Spot, bit: u8 },
    /// Bytes are zero.
    Zero { at: Spot, bytes: u64 },
    /// A hole: as zero, in the middle of a file.
    Hole { at: Spot, bytes: u64 },
    /// Bytes are garbage of this number.
    Garbage { at: Spot, bytes: u64, seed: u64 },
    /// Bytes cannot be read.
    Unreadable { at: Spot, bytes: u64 },
    /// The file ends here.
    Cut { at: Spot },
    /// A number is as great as it can be: a hostile length, count or offset.
    HostileField { at: Spot, bytes: u64 },
    /// The file is gone.
    Delete,
    /// The file stands a second time, in the place of another that matches the pattern.
    Duplicate { over: String },
    /// The file and another that matches the pattern have changed places.
    Swap { with: String },
    /// The file is what it was at [`Action::Remember`].
    RollBack,
    /// The whole disk is what it was then.
    RollBackAll,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spot {
    /// So many bytes from the start.
    Byte(u64),
    /// So many bytes before the end.
    End(u64),
    /// So many thousandths of the length from the start.
    Permille(u64),
    /// Where this record's value stands, by step and place: `"12.0"`.
    Value(String),
    /// In the block of the journal, whatever file that is in, that has so many
    /// whole ones behind it.
    Block(u64),
}

impl Action {
    /// The word for it, as scenarios write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateTopic { .. } => "create-topic",
            Self::DeleteTopic { .. } => "delete-topic",
            Self::AddPartitions { .. } => "add-partitions",
            Self::DeleteRecords { .. } => "delete-records",
            Self::Send { .. } => "send",
            Self::Wait { .. } => "wait",
            Self::Retry { .. } => "retry",
            Self::Subscribe { .. } => "subscribe",
            Self::Poll => "poll",
            Self::PollWaiting { .. } => "poll-waiting",
            Self::Commit => "commit",
            Self::SeekBack { .. } => "seek-back",
            Self::Transfer { .. } => "transfer",
            Self::Leave => "leave",
            Self::Audit => "audit",
            Self::Maintain => "maintain",
            Self::Restart(_) => "restart",
            Self::Sleep { .. } => "sleep",
            Self::ClockJump { .. } => "clock-jump",
            Self::ClockSkew { .. } => "clock-skew",
            Self::DiskRoom { .. } => "disk-room",
            Self::HandleLimit { .. } => "handle-limit",
            Self::Remember => "remember",
        }
    }
}
