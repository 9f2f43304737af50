//! Benchmark harness of sqluice: the balancer, the bare relay it must stay close to, and its rivals, under the same load
//! in front of the same server, in turns within one run.
//!
//! `README.md` says how to run it and what each figure means. The map, as a measurement goes: [`mod@run`] starts the
//! [`mod@stand_in`] server and each [`candidate`] (through [`launch`], a CPU each), puts [`load`] on them by [`case`] and [`dataset`], takes
//! what the process used from [`usage`], and [`statistics`] and [`table`] make the result of it on this [`machine`].

mod allocations;
mod backend;
mod by_name;
mod candidate;
mod case;
mod certificate;
mod command_line;
mod dataset;
mod idle_memory;
mod launch;
mod load;
mod login_cost;
mod machine;
mod monitoring;
mod output;
mod parts;
mod plot;
mod program;
mod progress;
mod readme;
mod record;
mod relay;
mod reply;
mod routing_table;
mod run;
mod split;
mod spread;
mod stand_in;
mod statistics;
mod steps;
mod system_calls;
mod table;
mod target;
mod targets;
#[cfg(test)]
mod testing;
mod usage;
mod wire;

use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use counting_alloc::CountingAllocator;

use crate::command_line::{Command, CommandLine, ReportOptions, RunOptions, warm_up};
use crate::launch::{Cpu, LISTENING, Placement};
use crate::load::{Generator, Load};
use crate::machine::Machine;
use crate::parts::{Part, Parts, Site};
use crate::record::Record;
use crate::target::{Failovers, Target};

/// Counts nothing until `allocations` asks for it.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What `load` writes when its window opens.
const WARM: &str = "warm";
/// What `load` writes at its end, followed by the number of replies in the window.
const REPLIES: &str = "replies ";

fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Run(options) => run(&options),
        Command::Report(options) => report(&options),
        Command::StandIn { listen, replica } => stand_in(listen, replica),
        Command::Relay { to, on } => relay(to, on),
        Command::Load { to, case, connections, seconds, follow_instant_failovers, timetable } => {
            let failovers = if follow_instant_failovers { Failovers::Follow } else { Failovers::Refuse };
            let target = Target { failovers, ..Target::stand_in(to) };
            let load = Load { target, case, mode: timetable.mode(), connections };
            load_only(&load, Duration::from_secs_f64(seconds))
        }
        Command::Part(part) => measure_part(&part),
        Command::RepeatStep { step, times } => steps::repeat(&step, times).map(|()| ExitCode::SUCCESS),
        Command::Launch { cpu, parent, program } => Err(launch::launch(Cpu(cpu), parent, &program).into()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sqluice-bench: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: &RunOptions) -> Result<ExitCode, Box<dyn Error>> {
    launch::raise_file_limit()?;
    let cpus = launch::usable_cpus()?;
    let placement = Placement::of(&cpus);
    let programs = &options.programs;
    let mut machine = Machine::describe(&cpus, &placement, programs);
    println!("{machine}");
    let directory = tempfile::tempdir()?;
    let plan = options.plan();
    let server = options.server.open(&plan, &placement, directory.path())?;
    let findings = run::run(&plan, &placement, &server.target, programs, directory.path());
    let parts = options
        .parts()
        .map(|extent| Site::open(&placement, programs, directory.path())?.measure(&extent, &plan.candidates));
    // What was measured is shown also where a part breaks off.
    let (parts, broken) = match parts.transpose() {
        Ok(parts) => (parts, None),
        Err(error) => (None, Some(error)),
    };
    machine.run_is_over();
    let failed = findings.has_failed() || parts.as_ref().is_some_and(Parts::has_failed);
    let record = Record::new(&plan, options.base, machine, findings, parts);
    output::print(&record);
    options.files.write(&record)?;
    if let Some(error) = broken {
        return Err(error);
    }
    if options.record && !failed {
        output::keep(&record)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(options: &ReportOptions) -> Result<ExitCode, Box<dyn Error>> {
    let record = Record::read(&options.from.clone().unwrap_or_else(readme::recorded))?;
    println!("{}", record.machine);
    output::print(&record);
    options.files.write(&record)?;
    if options.write_readme {
        output::publish(&record)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure_part(part: &Part) -> Result<ExitCode, Box<dyn Error>> {
    launch::raise_file_limit()?;
    let placement = Placement::of(&launch::usable_cpus()?);
    let directory = tempfile::tempdir()?;
    let programs = part.programs();
    let parts = Site::open(&placement, &programs, directory.path())?.measure_one(part)?;
    print!("{parts}");
    Ok(if parts.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn load_only(load: &Load, window: Duration) -> Result<ExitCode, Box<dyn Error>> {
    launch::raise_file_limit()?;
    let placement = Placement::of(&launch::usable_cpus()?);
    let generator = Generator::start(load, &placement.generators).map_err(|fault| fault.to_string())?;
    generator.run_for(warm_up(window)).map_err(|fault| fault.to_string())?;
    generator.open_window();
    writeln!(std::io::stdout(), "{WARM}")?;
    generator.run_for(window).map_err(|fault| fault.to_string())?;
    let tally = generator.finish().map_err(|fault| fault.to_string())?;
    writeln!(std::io::stdout(), "{REPLIES}{}", tally.replies)?;
    Ok(ExitCode::SUCCESS)
}

fn stand_in(listen: SocketAddr, replica: Option<SocketAddr>) -> Result<ExitCode, Box<dyn Error>> {
    launch::raise_file_limit()?;
    let primary = TcpListener::bind(listen)?;
    let replica = replica.map(TcpListener::bind).transpose()?;
    writeln!(std::io::stdout(), "{LISTENING}{}", primary.local_addr()?)?;
    stand_in::serve(primary, replica)?;
    Ok(ExitCode::SUCCESS)
}

fn relay(to: SocketAddr, runtime: relay::Runtime) -> Result<ExitCode, Box<dyn Error>> {
    launch::raise_file_limit()?;
    relay::serve(to, runtime)?;
    Ok(ExitCode::SUCCESS)
}
