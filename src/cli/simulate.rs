//! `gate simulate`: with this traffic and this policy, how soon would a regression be found, and how often
//! would a harmless release be taken back?

use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;

use super::backtest::JudgeWord;
use super::chosen;
use super::error::Error;
use super::exit::Exit;
use super::output::{Printer, simulate as shown};
use super::target::read_file;
use crate::policy::{JudgeKind, Policy};
use crate::simulate::{self, Question, REPS_MAX, Scenario, Simulation, SimulationError};

/// Files of one folder that are read.
const FILES_MAX: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// A policy file, or a shipped policy: canary, blue-green, cautious, seed, all-conditions
    policy: String,
    /// A scenario file, or a folder of them
    #[arg(long, required = true, value_name = "FILE")]
    scenario: Vec<PathBuf>,
    /// Promotions to simulate, for each scenario
    #[arg(long, default_value_t = 500, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=REPS_MAX))]
    reps: u64,
    /// The same seed gives the same result, on every machine
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Judge with this judge instead of the policy's own; both, separated by a comma, are compared
    #[arg(long, value_enum, value_name = "JUDGE", value_delimiter = ',')]
    judge: Vec<JudgeWord>,
    /// Threads; the result does not depend on them [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

pub(crate) fn simulate(printer: &Printer, args: &SimulateArgs) -> Result<Exit, Error> {
    let chosen = chosen::of(printer, &args.policy)?;
    let scenarios = scenarios(printer, &args.scenario)?;
    let judges: Vec<JudgeKind> = match args.judge.as_slice() {
        [] => vec![chosen.policy.evidence.judge],
        named => named.iter().copied().map(JudgeKind::from).collect(),
    };
    let asked = Asked { args, policy: &chosen.policy };
    if let [scenario] = scenarios.as_slice()
        && !printer.is_json()
    {
        return one(printer, &asked, scenario, &judges);
    }
    let mut rows = Vec::new();
    for scenario in &scenarios {
        let found = asked.of_each(scenario, &judges)?;
        if printer.is_json() {
            found.iter().for_each(|simulation| printer.object(simulation));
        } else {
            if printer.is_live() {
                printer.say(&format!("simulated {}", scenario.name));
            }
            rows.push(found);
        }
    }
    if !printer.is_json() {
        printer.answer(&shown::many(&rows));
    }
    Ok(Exit::Done)
}

/// One scenario for people: the whole answer, and a harmless release under the same traffic.
fn one(
    printer: &Printer,
    asked: &Asked<'_>,
    scenario: &Scenario,
    judges: &[JudgeKind],
) -> Result<Exit, Error> {
    for judge in judges {
        let found = asked.of(scenario, *judge)?;
        let harmless = match scenario.is_harmless() {
            true => None,
            false => Some(asked.of(&scenario.harmless(), *judge)?),
        };
        let question = asked.question(scenario, *judge);
        printer.answer(&shown::one(&question, &found, harmless.as_ref()));
    }
    Ok(Exit::Done)
}

struct Asked<'a> {
    args: &'a SimulateArgs,
    policy: &'a Policy,
}

impl Asked<'_> {
    fn question<'q>(&'q self, scenario: &'q Scenario, judge: JudgeKind) -> Question<'q> {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Question {
            scenario,
            policy: self.policy,
            judge,
            reps: self.args.reps,
            seed: self.args.seed,
            threads: self.args.threads.unwrap_or_else(cores),
        }
    }

    fn of(&self, scenario: &Scenario, judge: JudgeKind) -> Result<Simulation, Error> {
        simulate::simulate(&self.question(scenario, judge)).map_err(refused)
    }

    fn of_each(&self, scenario: &Scenario, judges: &[JudgeKind]) -> Result<Vec<Simulation>, Error> {
        judges.iter().map(|judge| self.of(scenario, *judge)).collect()
    }
}

fn refused(error: SimulationError) -> Error {
    match error {
        SimulationError::Runtime { .. } => Error::internal(error.to_string()),
        SimulationError::Scenario { .. } | SimulationError::Reps | SimulationError::Refused(_) => {
            Error::user(error.to_string())
        }
    }
}

/// Reads every scenario that is named, and those of every folder that is named.
fn scenarios(printer: &Printer, paths: &[PathBuf]) -> Result<Vec<Scenario>, Error> {
    let mut scenarios = Vec::new();
    for path in paths {
        for file in files(path)? {
            let checked = simulate::read(&file, &read_file(&file)?)?;
            if !checked.warnings.is_empty() {
                printer.say(&checked.warnings.coloured());
            }
            scenarios.push(checked.value);
        }
    }
    Ok(scenarios)
}

/// Returns the file, or the YAML files of the folder by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let what = || format!("can't read {}", path.display());
    let entries = std::fs::read_dir(path).map_err(|e| Error::user(what()).caused_by(e))?;
    let is_yaml = |file: &PathBuf| file.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_yaml).take(FILES_MAX).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::user(format!("{} holds no scenario", path.display())));
    }
    Ok(files)
}
