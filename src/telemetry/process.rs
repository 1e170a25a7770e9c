//! `process_*` metrics, read from `/proc` when scraped.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::telemetry::catalogue;

/// Clock ticks a second in `/proc/self/stat`: fixed by the kernel's user interface.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// This process, as Linux sees it. Elsewhere the metrics are absent.
#[derive(Debug)]
pub struct Process;

struct Stat {
    cpu_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    start_ticks: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(stat) = stat() {
            counter(&mut encoder, "process_cpu_seconds", stat.cpu_seconds)?;
            gauge(&mut encoder, "process_virtual_memory_bytes", stat.virtual_bytes as f64)?;
            gauge(&mut encoder, "process_resident_memory_bytes", stat.resident_bytes as f64)?;
            if let Some(boot) = boot_time() {
                let start = boot + stat.start_ticks / TICKS;
                gauge(&mut encoder, "process_start_time_seconds", start)?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge(&mut encoder, "process_open_fds", open.count() as f64)?;
        }
        if let Some(most) = most_descriptors() {
            gauge(&mut encoder, "process_max_fds", most)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, value: f64) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, &described(name), None, metric.metric_type())?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, value: f64) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, &described(name), None, metric.metric_type())?)
}

/// As the registry writes it, with a full stop.
fn described(name: &str) -> String {
    format!("{}.", catalogue::help(name))
}

fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // the command name is in brackets and may hold anything; the fields begin after the last one
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
    let ticks = field(14)?.parse::<f64>().ok()? + field(15)?.parse::<f64>().ok()?;
    Some(Stat {
        cpu_seconds: ticks / TICKS,
        start_ticks: field(22)?.parse().ok()?,
        virtual_bytes: field(23)?.parse().ok()?,
        resident_bytes: field(24)?.parse::<u64>().ok()?.saturating_mul(PAGE),
    })
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn most_descriptors() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
