//! Scratch.
use merkql_sim::generate::{Options, scenario};
use merkql_sim::world::{Manner, execute};
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    std::panic::set_hook(Box::new(|_| {}));
    let t = std::time::Instant::now();
    let mut ops = 0;
    let mut io = 0;
    let mut crashes = 0;
    let mut exec = std::time::Duration::ZERO;
    let mut outcomes = std::collections::BTreeMap::<String, u64>::new();
    let mut faults = std::collections::BTreeMap::new();
    let mut marks = std::collections::BTreeMap::new();
    for seed in a[0]..a[1] {
        let t1 = std::time::Instant::now();
        let (run, s) = std::thread::spawn(move || {
            let s = scenario(seed, &Options::default());
            (execute(&s, &Manner::default()), s)
        })
        .join()
        .unwrap();
        exec += t1.elapsed();
        let v = run.judge();
        ops += run.client_ops;
        io += run.io_ops;
        crashes += run.crashes.len();
        *outcomes.entry(format!("{} {}", s.settings.profile, run.outcome(&v))).or_default() += 1;
        for (k, c) in &run.faults {
            let e = faults.entry(*k).or_insert((0, 0, 0));
            e.0 += c.armed;
            e.1 += c.fired;
            e.2 += c.mattered;
        }
        for (k, c) in &run.marks {
            *marks.entry(*k).or_insert(0) += c;
        }
        if !v.is_valid() {
            println!("seed {seed} {}: {:?}", s.settings.profile, v.names());
            for w in v.witnesses().take(3) {
                println!("   {}", w.sentence);
            }
            if a.len() > 2 {
                println!("{}", s.to_toml().unwrap());
                for o in run.history.operations() {
                    println!("{}", serde_line(o));
                }
            }
        }
    }
    println!("{:?} exec {:?} ops {ops} io {io} crashes {crashes}", t.elapsed(), exec);
    println!("{outcomes:?}");
    for (k, c) in faults {
        println!("{:?} {:?}", k, c);
    }
    println!("{marks:?}");
}
fn serde_line(o: &merkql_jepsen::history::Operation) -> String {
    format!(
        "{} {} {:?} {:?} {:?}",
        o.index,
        o.process,
        o.kind,
        o.action,
        o.attachments.as_ref().and_then(|a| a.error.clone())
    )
}
