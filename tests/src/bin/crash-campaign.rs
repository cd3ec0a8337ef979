//! Runs campaigns of crashes, one line of JSON on stdout for each: what `cargo xtask crash` runs.
//!
//! `crash-campaign store|database|files|faults|kills|hangs|foreman|power|turns|damage|controls [--points N|all]
//! [--kills N] [--hangs N] [--damages N] [--seed S] [--owner library|program] [--at CALL:N]`.
//! Progress goes to stderr. Exit 1: something was wrong, and what repeats it was printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for developers")]

use std::process::ExitCode;

use amplifier_tests::crash::background::Side;
use amplifier_tests::crash::kills::Owner;
use amplifier_tests::crash::points::{Point, Wanted};
use amplifier_tests::crash::power::Fsyncs;
use amplifier_tests::crash::{
    Report, background, controls, damage, foreman, hangs, judge, kills, power, store, turns,
};

/// What was asked for.
#[derive(Debug)]
struct Asked {
    points: Wanted,
    kills: Option<usize>,
    hangs: usize,
    damages: usize,
    seed: u64,
    owner: Owner,
    at: Option<Point>,
}

/// How many faults of the disk are tried where not all points are.
const FAULTS: usize = 10;
/// How often who owns background sessions is killed, and a foreman.
const KILLS: usize = 1_000;
const FOREMAN_KILLS: usize = 200;
/// How often one of two that share background sessions hangs.
const HANGS: usize = 100;
/// How often each format of files is damaged.
const DAMAGES: usize = 40;
/// A foreman has one issue for each kill, and so many at least.
const FEWEST_ISSUES: usize = 8;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let campaign = args.next().expect("a campaign");
    if campaign == judge::WORD {
        let case = serde_json::from_reader(std::io::stdin()).expect("a case");
        println!("{}", serde_json::to_string(&judge::judge(case).await).unwrap());
        return ExitCode::SUCCESS;
    }
    let mut asked = Asked {
        points: Wanted::All,
        kills: None,
        hangs: HANGS,
        damages: DAMAGES,
        seed: 1,
        owner: Owner::Program,
        at: None,
    };
    while let Some(flag) = args.next() {
        let value = args.next().expect("each flag has a value");
        match flag.as_str() {
            "--points" => asked.points = Wanted::parse(&value).expect("a number, or `all`"),
            "--kills" => asked.kills = Some(value.parse().expect("a number")),
            "--hangs" => asked.hangs = value.parse().expect("a number"),
            "--damages" => asked.damages = value.parse().expect("a number"),
            "--seed" => asked.seed = value.parse().expect("a number"),
            "--owner" => owner_of(&value, &mut asked),
            "--at" => {
                let (call, n) = value.split_once(':').expect("a call and its number");
                asked.at = Some(Point { call: call.to_owned(), n: n.parse().expect("a number") });
            }
            other => panic!("no flag is called {other}"),
        }
    }
    let report = run(&campaign, asked).await;
    println!("{}", serde_json::to_string(&report).unwrap());
    ExitCode::from(u8::from(!report.violations.is_empty()))
}

fn owner_of(value: &str, asked: &mut Asked) {
    asked.owner = match value {
        "library" => Owner::Library,
        "program" => Owner::Program,
        other => panic!("no owner is called {other}"),
    };
}

async fn run(campaign: &str, asked: Asked) -> Report {
    match (campaign, asked.at) {
        ("store", _) => store::kill_at_points(asked.points, told).await,
        ("database" | "files", at) => {
            let side = if campaign == "files" { Side::Files } else { Side::Database };
            match at {
                Some(point) => {
                    let mut report = Report::of(&format!("background, killed at {}/{point}", side.name()));
                    report.of = 1;
                    report.checked = background::kill_at(side, &point, &mut report).await.to_string();
                    report
                }
                None => {
                    background::kill_at_points(side, asked.points, |report| told(report.tried, report.of))
                        .await
                }
            }
        }
        ("faults", _) => {
            let count = if asked.points == Wanted::All { 4 * FAULTS } else { FAULTS };
            background::fail_for_a_while(&background::faults(count), |report| told(report.tried, report.of))
                .await
        }
        ("kills", _) => {
            let kills = asked.kills.unwrap_or(KILLS);
            kills::kill(asked.owner, kills, asked.seed, |done| told(done, kills)).await
        }
        ("hangs", _) => hangs::hang(asked.hangs, asked.seed, |done| told(done, asked.hangs)).await,
        ("foreman", _) => {
            let kills = asked.kills.unwrap_or(FOREMAN_KILLS);
            foreman::kill(kills.max(FEWEST_ISSUES), kills, asked.seed, |done| told(done, kills)).await
        }
        ("power", _) => power::lose(Fsyncs::Made, "honestly", asked.points, asked.seed, told),
        ("turns", _) => turns::lose(Fsyncs::Made, asked.points, asked.seed, told),
        ("damage", _) => damage::damage_all(asked.damages, asked.seed, told),
        ("controls", _) => controls::all(asked.seed).await,
        (other, _) => panic!("no campaign is called {other}"),
    }
}

fn told(done: usize, of: usize) {
    if done.is_multiple_of(50) || done == of {
        eprintln!("{done} of {of}");
    }
}
