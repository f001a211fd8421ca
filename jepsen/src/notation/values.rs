//! The values of the functions that Jepsen doesn't have, from data and to data.

use super::fields::{
    Fields, MapBuilder, Shape, hash, hash_datum, hashes, hashes_datum, keys, keys_datum,
    maybe_offsets, maybe_offsets_datum, offsets, offsets_datum, spans, spans_datum,
};
use super::lexer::Notation;
use crate::history::{
    Action, Commit, Consistency, ConsistencyProof, Damage, Datum, Declarations, Detected,
    FaultClass, FaultsEnd, FinalPolls, Healed, Inclusion, InclusionProof, Key, Rebalance, Root,
    TreeHead,
};

/// The action of a function that isn't a send, a poll or a transaction.
pub(crate) fn action(function: &str, value: Datum) -> Shape<Action> {
    let offset_map = |value: &Datum| {
        offsets(value).ok_or_else(|| {
            format!("a map of keys to offsets as the value of {function}, found {value}")
        })
    };
    let key_list = |value: &Datum| {
        keys(value)
            .ok_or_else(|| format!("a list of keys as the value of {function}, found {value}"))
    };
    Ok(match function {
        "assign" => Action::Assign(key_list(&value)?),
        "subscribe" => Action::Subscribe(key_list(&value)?),
        "delete" => Action::Delete(key_list(&value)?),
        "crash" => Action::Crash(value),
        "debug-topic-partitions" => Action::DebugTopicPartitions(value),
        "close" => Action::Close(value),
        "refused" => Action::Refused(value),
        "panic" => Action::Panic(value),
        "seek" => Action::Seek(offset_map(&value)?),
        "retain" => Action::Retain(offset_map(&value)?),
        "undecidable-tail" => Action::UndecidableTail(offset_map(&value)?),
        "compact" => Action::Compact(spans(&value).ok_or_else(|| {
            format!("a map of keys to lists of [from, to] as the value of compact, found {value}")
        })?),
        "removed" => Action::Removed(spans(&value).ok_or_else(|| {
            format!("a map of keys to lists of [from, to] as the value of removed, found {value}")
        })?),
        "open" => Action::Open(declarations(value)?),
        "commit" => Action::Commit(Box::new(commit("commit", value)?)),
        "committed" => Action::Committed(Box::new(commit("committed", value)?)),
        "root" => Action::Root(Box::new(root(value)?)),
        "proof" => Action::Proof(Box::new(inclusion(value)?)),
        "consistency" => Action::Consistency(Box::new(consistency(value)?)),
        "damage" => Action::Damage(Box::new(damage(value)?)),
        "detected" => Action::Detected(Box::new(detected(value)?)),
        "healed" => Action::Healed(Box::new(healed(value)?)),
        "rebalance" => Action::Rebalance(Box::new(rebalance(value)?)),
        "faults-end" => Action::FaultsEnd(Box::new(faults_end(value)?)),
        "final-polls" => Action::FinalPolls(final_polls(&value)?),
        _ => Action::Other { function: function.into(), value },
    })
}

/// The value of such an action, with the names of its fields as the notation writes them.
pub(crate) fn value(action: &Action, notation: Notation) -> Datum {
    match action {
        Action::Send(_) | Action::Poll(_) | Action::Txn(_) => Datum::Nil,
        Action::Assign(keys)
        | Action::Subscribe(keys)
        | Action::Delete(keys)
        | Action::FinalPolls(FinalPolls::Asked(keys)) => keys_datum(keys),
        Action::Crash(value)
        | Action::DebugTopicPartitions(value)
        | Action::Close(value)
        | Action::Refused(value)
        | Action::Panic(value)
        | Action::Other { value, .. } => value.clone(),
        Action::Seek(offsets)
        | Action::Retain(offsets)
        | Action::UndecidableTail(offsets)
        | Action::FinalPolls(FinalPolls::Done(offsets)) => offsets_datum(offsets),
        Action::Compact(spans) | Action::Removed(spans) => spans_datum(spans),
        Action::Open(declared) => declarations_datum(declared, notation),
        Action::Commit(commit) | Action::Committed(commit) => commit_datum(commit, notation),
        Action::Root(root) => root_datum(root, notation),
        Action::Proof(proof) => inclusion_datum(proof, notation),
        Action::Consistency(proof) => consistency_datum(proof, notation),
        Action::Damage(damage) => damage_datum(damage, notation),
        Action::Detected(detected) => detected_datum(detected, notation),
        Action::Healed(healed) => MapBuilder::new(notation)
            .field("damage", Datum::from(healed.damage))
            .finish(&healed.rest),
        Action::Rebalance(rebalance) => rebalance_datum(rebalance, notation),
        Action::FaultsEnd(end) => {
            MapBuilder::new(notation).field("bound_ns", Datum::from(end.bound_ns)).finish(&end.rest)
        }
    }
}

/// An open may be invoked with anything; declarations count where they are given.
fn declarations(value: Datum) -> Shape<Declarations> {
    let mut fields = Fields::of("open", value)?;
    Ok(Declarations {
        dense_offsets: fields.flag("dense_offsets")?,
        atomic_batches: fields.flag("atomic_batches")?,
        rebalances: fields.flag("rebalances")?,
        all_sends: fields.flag("all_sends")?,
        rest: fields.rest(),
    })
}

fn declarations_datum(declared: &Declarations, notation: Notation) -> Datum {
    if *declared == Declarations::default() {
        return Datum::Nil;
    }
    MapBuilder::new(notation)
        .flag("dense_offsets", declared.dense_offsets)
        .flag("atomic_batches", declared.atomic_batches)
        .flag("rebalances", declared.rebalances)
        .flag("all_sends", declared.all_sends)
        .finish(&declared.rest)
}

/// The shape that commit, committed and the attachment `commits` share.
pub(crate) fn commit(of: &'static str, value: Datum) -> Shape<Commit> {
    let mut fields = Fields::of(of, value)?;
    Ok(Commit {
        group: fields.datum("group", "a group")?,
        offsets: fields.required("offsets", maybe_offsets, "a map of keys to offsets or nil")?,
        rest: fields.rest(),
    })
}

pub(crate) fn commit_datum(commit: &Commit, notation: Notation) -> Datum {
    MapBuilder::new(notation)
        .field("group", commit.group.clone())
        .field("offsets", maybe_offsets_datum(&commit.offsets))
        .finish(&commit.rest)
}

fn root(value: Datum) -> Shape<Root> {
    let mut fields = Fields::of("root", value)?;
    let key = Key::new(fields.datum("key", "a key")?);
    let size = fields.optional("size", Datum::whole, "a tree size")?;
    let root = fields.optional("root", hash, "64 hexadecimal digits")?;
    let answer = match (size, root) {
        (Some(size), Some(root)) => Some(TreeHead { size, root }),
        (None, None) => None,
        _ => return Err("`size` and `root` together, or neither, in the value of root".into()),
    };
    Ok(Root { key, answer, rest: fields.rest() })
}

fn root_datum(root: &Root, notation: Notation) -> Datum {
    MapBuilder::new(notation)
        .field("key", root.key.datum().clone())
        .maybe("size", root.answer.map(|head| Datum::from(head.size)))
        .maybe("root", root.answer.map(|head| hash_datum(&head.root)))
        .finish(&root.rest)
}

fn inclusion(value: Datum) -> Shape<InclusionProof> {
    let mut fields = Fields::of("proof", value)?;
    let key = Key::new(fields.datum("key", "a key")?);
    let index = fields.required("index", Datum::whole, "a record's index")?;
    let size = fields.optional("size", Datum::whole, "a tree size")?;
    let root = fields.optional("root", hash, "64 hexadecimal digits")?;
    let record = fields.optional("record", hash, "64 hexadecimal digits")?;
    let path = fields.optional("path", hashes, "a list of hashes of 64 hexadecimal digits")?;
    let answer = match (size, root, record, path) {
        (Some(size), Some(root), Some(record), Some(path)) => {
            Some(Inclusion { head: TreeHead { size, root }, record, path })
        }
        (None, None, None, None) => None,
        _ => return Err(
            "`size`, `root`, `record` and `path` together, or none of them, in the value of proof"
                .into(),
        ),
    };
    Ok(InclusionProof { key, index, answer, rest: fields.rest() })
}

fn inclusion_datum(proof: &InclusionProof, notation: Notation) -> Datum {
    let answer = proof.answer.as_ref();
    MapBuilder::new(notation)
        .field("key", proof.key.datum().clone())
        .field("index", Datum::from(proof.index))
        .maybe("size", answer.map(|answer| Datum::from(answer.head.size)))
        .maybe("root", answer.map(|answer| hash_datum(&answer.head.root)))
        .maybe("record", answer.map(|answer| hash_datum(&answer.record)))
        .maybe("path", answer.map(|answer| hashes_datum(&answer.path)))
        .finish(&proof.rest)
}

fn consistency(value: Datum) -> Shape<ConsistencyProof> {
    let mut fields = Fields::of("consistency", value)?;
    let key = Key::new(fields.datum("key", "a key")?);
    let old_size = fields.required("old_size", Datum::whole, "a tree size")?;
    let new_size = fields.required("new_size", Datum::whole, "a tree size")?;
    let old_root = fields.optional("old_root", hash, "64 hexadecimal digits")?;
    let new_root = fields.optional("new_root", hash, "64 hexadecimal digits")?;
    let path = fields.optional("path", hashes, "a list of hashes of 64 hexadecimal digits")?;
    let answer = match (old_root, new_root, path) {
        (Some(old_root), Some(new_root), Some(path)) => Some(Consistency {
            old_root,
            new_root,
            path,
        }),
        (None, None, None) => None,
        _ => return Err("`old_root`, `new_root` and `path` together, or none of them, in the value of consistency".into()),
    };
    Ok(ConsistencyProof { key, old_size, new_size, answer, rest: fields.rest() })
}

fn consistency_datum(proof: &ConsistencyProof, notation: Notation) -> Datum {
    let answer = proof.answer.as_ref();
    MapBuilder::new(notation)
        .field("key", proof.key.datum().clone())
        .field("old_size", Datum::from(proof.old_size))
        .field("new_size", Datum::from(proof.new_size))
        .maybe("old_root", answer.map(|answer| hash_datum(&answer.old_root)))
        .maybe("new_root", answer.map(|answer| hash_datum(&answer.new_root)))
        .maybe("path", answer.map(|answer| hashes_datum(&answer.path)))
        .finish(&proof.rest)
}

fn damage(value: Datum) -> Shape<Damage> {
    let class = |datum: &Datum| match datum.name()? {
        "R" => Some(FaultClass::Recoverable),
        "D" => Some(FaultClass::Detected),
        _ => None,
    };
    let mut fields = Fields::of("damage", value)?;
    Ok(Damage {
        id: fields.required("id", Datum::whole, "the damage's number")?,
        class: fields.required("class", class, "R or D")?,
        spans: fields.optional("spans", spans, "a map of keys to lists of [from, to]")?,
        rest: fields.rest(),
    })
}

fn damage_datum(damage: &Damage, notation: Notation) -> Datum {
    let class = match damage.class {
        FaultClass::Recoverable => "R",
        FaultClass::Detected => "D",
    };
    MapBuilder::new(notation)
        .field("id", Datum::from(damage.id))
        .field("class", Datum::str(class))
        .maybe("spans", damage.spans.as_ref().map(spans_datum))
        .finish(&damage.rest)
}

fn detected(value: Datum) -> Shape<Detected> {
    let mut fields = Fields::of("detected", value)?;
    Ok(Detected {
        damage: fields.optional("damage", Datum::whole, "the damage's number")?,
        spans: fields
            .optional("spans", spans, "a map of keys to lists of [from, to]")?
            .unwrap_or_default(),
        rest: fields.rest(),
    })
}

fn detected_datum(detected: &Detected, notation: Notation) -> Datum {
    MapBuilder::new(notation)
        .maybe("damage", detected.damage.map(Datum::from))
        .field("spans", spans_datum(&detected.spans))
        .finish(&detected.rest)
}

fn healed(value: Datum) -> Shape<Healed> {
    let mut fields = Fields::of("healed", value)?;
    Ok(Healed {
        damage: fields.required("damage", Datum::whole, "the damage's number")?,
        rest: fields.rest(),
    })
}

fn rebalance(value: Datum) -> Shape<Rebalance> {
    let mut fields = Fields::of("rebalance", value)?;
    Ok(Rebalance {
        group: fields.datum("group", "a group")?,
        assigned: fields.optional("assigned", keys, "a list of keys")?.unwrap_or_default(),
        revoked: fields.optional("revoked", keys, "a list of keys")?.unwrap_or_default(),
        rest: fields.rest(),
    })
}

fn rebalance_datum(rebalance: &Rebalance, notation: Notation) -> Datum {
    MapBuilder::new(notation)
        .field("group", rebalance.group.clone())
        .field("assigned", keys_datum(&rebalance.assigned))
        .field("revoked", keys_datum(&rebalance.revoked))
        .finish(&rebalance.rest)
}

fn faults_end(value: Datum) -> Shape<FaultsEnd> {
    let mut fields = Fields::of("faults-end", value)?;
    Ok(FaultsEnd {
        bound_ns: fields.required("bound_ns", Datum::whole, "a number of nanoseconds")?,
        rest: fields.rest(),
    })
}

fn final_polls(value: &Datum) -> Shape<FinalPolls> {
    keys(value)
        .map(FinalPolls::Asked)
        .or_else(|| offsets(value).map(FinalPolls::Done))
        .ok_or_else(|| format!("a list of keys or a map of keys to end offsets as the value of final-polls, found {value}"))
}
