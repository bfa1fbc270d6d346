//! `LATENCY`: what took long, and how the times of commands are distributed.

use std::fmt::Write;

use super::{Answer, Command, Context, Flags, Keys, OnNode, Run, describe};
use crate::{
    resp::{Reply, Request},
    watch::{Event, Sample},
};

/// The subcommands of `LATENCY`.
pub(super) const SUBCOMMANDS: &[Command] = &[
    subcommand("latency|doctor", 2, |context, _| Reply::Verbatim(doctor(context)).into()),
    subcommand("latency|graph", 3, graph),
    Command::new("latency|help", 2, Flags::LOADING.and(Flags::STALE), Keys::NONE, {
        Run::Node(|context, request| describe::help(context, request).into())
    }),
    subcommand("latency|histogram", -2, histogram),
    subcommand("latency|history", 3, |context, request| {
        let event = context.router.services().watch.events.of(request.arg(2)).unwrap_or_default();
        Reply::Array(event.samples.into_iter().map(sample).collect()).into()
    }),
    subcommand("latency|latest", 2, |context, _| {
        let events = context.router.services().watch.events.all();
        Reply::Array(events.iter().map(|(name, event)| latest(name, event)).collect()).into()
    }),
    subcommand("latency|reset", -2, |context, request| {
        let names: Vec<_> = request.args_from(2).collect();
        Reply::Integer(context.router.services().watch.events.forget(&names) as i64).into()
    }),
];

const fn subcommand(name: &'static str, arity: i8, run: OnNode) -> Command {
    let flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
    Command::new(name, arity, flags, Keys::NONE, Run::Node(run))
}

fn sample(sample: Sample) -> Reply<'static> {
    Reply::Array(vec![Reply::Integer(sample.unix_s as i64), Reply::Integer(sample.ms as i64)])
}

fn latest(name: &'static str, event: &Event) -> Reply<'static> {
    let Sample { unix_s, ms } = event.samples.back().copied().unwrap_or(Sample { unix_s: 0, ms: 0 });
    let numbers = [unix_s, ms, event.longest_ms, event.sum_ms, event.count];
    let numbers = numbers.map(|number| Reply::Integer(number as i64));
    Reply::Array([Reply::Text(name.into())].into_iter().chain(numbers).collect())
}

/// The distributions of the commands that are named, their subcommands included; of all if none is.
fn histogram<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let (table, statistics) = (context.router.table(), &context.router.services().statistics);
    let is_named = |name: &str| {
        let container = name.split('|').next().unwrap_or(name);
        let is = |asked: &[u8]| [name, container].iter().any(|name| asked.eq_ignore_ascii_case(name.as_bytes()));
        request.len() == 2 || request.args_from(2).any(is)
    };
    let commands = table.all().iter().enumerate().filter(|(_, command)| is_named(command.name));
    let text = |text: &'static str| Reply::Text(text.into());
    let shown = |(place, command): (usize, &&'static Command)| {
        let (calls, at_most_us) = statistics.distribution(place as u16)?;
        let steps = at_most_us.into_iter().map(|(us, count)| (Reply::Integer(us as i64), Reply::Integer(count as i64)));
        let figures = [("calls", Reply::Integer(calls as i64)), ("histogram_usec", Reply::Map(steps.collect()))];
        Some((text(command.name), Reply::Map(figures.map(|(name, value)| (text(name), value)).into())))
    };
    Reply::Map(commands.filter_map(shown).collect()).into()
}

/// So many columns has a graph, and so many rows.
const COLUMNS: usize = 80;
const ROWS: u64 = 4;

fn graph<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let (name, services) = (request.arg(2), context.router.services());
    match services.watch.events.of(name) {
        // What is found has a name of ours.
        Some(event) => Reply::Verbatim(draw(&String::from_utf8_lossy(name), &event, services.clock.unix_ms() / 1000)),
        None => Reply::error_about("ERR No samples available for event '", name, "'"),
    }
    .into()
}

/// A bar for each of the latest samples, and below it how long ago that was, read downwards.
fn draw(name: &str, event: &Event, now_s: u64) -> String {
    let skipped = event.samples.len().saturating_sub(COLUMNS);
    let samples: Vec<_> = event.samples.iter().skip(skipped).collect();
    let (least, most) =
        samples.iter().fold((u64::MAX, 0), |(least, most), sample| (least.min(sample.ms), most.max(sample.ms)));
    let mut text = format!("{name} - high {most} ms, low {least} ms (all time high {} ms)\n", event.longest_ms);
    text.push_str(&"-".repeat(COLUMNS));
    text.push('\n');
    for row in (1..=ROWS).rev() {
        // The lowest sample has a mark as well.
        let height = |ms: u64| 1 + (ms - least) * (ROWS - 1) / (most - least).max(1);
        let marks = samples.iter().map(|sample| if height(sample.ms) >= row { '#' } else { ' ' });
        text.push_str(marks.collect::<String>().trim_end());
        text.push('\n');
    }
    let ages: Vec<_> = samples.iter().map(|sample| age(now_s.saturating_sub(sample.unix_s)).into_bytes()).collect();
    for row in 0..ages.iter().map(Vec::len).max().unwrap_or(0) {
        let line = ages.iter().map(|age| age.get(row).copied().unwrap_or(b' ') as char);
        text.push_str(line.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What the samples mean.
fn doctor(context: &Context<'_>) -> String {
    let watch = &context.router.services().watch;
    if watch.limits().event_ms.is_none() {
        return "Nobody watches: latency-monitor-threshold is 0.\n\
                CONFIG SET latency-monitor-threshold <milliseconds> begins.\n"
            .to_owned();
    }
    let events = watch.events.all();
    if events.is_empty() {
        return format!("Nothing took {} ms or longer so far.\n", watch.event_threshold_ms());
    }
    let mut text = String::new();
    for (name, event) in events {
        let (mean, longest, count) = (event.sum_ms / event.count.max(1), event.longest_ms, event.count);
        let advice = match name {
            "expire-cycle" => "Many keys end at one time: spread their deadlines.",
            "fast-command" => "Commands that are fast by nature wait for the processor: look at the machine's load.",
            "eviction-cycle" => "Memory is short: raise maxmemory, or store less.",
            _ => "SLOWLOG GET names the commands.",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {count} times, {mean} ms in the mean, {longest} ms at most. {advice}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_a_bar_for_each_sample() {
        let samples = [(100, 10), (160, 40), (4000, 25)].map(|(unix_s, ms)| Sample { unix_s, ms });
        let event = Event { samples: samples.into(), longest_ms: 99, ..Event::default() };
        let lines: Vec<_> = draw("command", &event, 4001).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 99 ms)");
        assert_eq!(lines[2..], [" #", " #", " ##", "###", "111", "hhs"]);
        let one = Event { samples: [Sample { unix_s: 5, ms: 7 }].into(), ..Event::default() };
        assert!(draw("command", &one, 5).contains("high 7 ms, low 7 ms"));
    }
}
