//! The Prometheus recorder of the process.
//!
//! Metrics are counted with the macros of the `metrics` crate under the [`names`]; [`MetricsHandle::render`]
//! writes them as Prometheus reads them. Counting before [`install`] is lost, and does no harm.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::names;

/// Upper ends of the buckets of every histogram, s: from a tenth of a millisecond to half a minute.
const BUCKETS_S: [f64; 12] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up metrics: {0}")]
pub struct MetricsError(String);

/// Reads the metrics of the process.
#[derive(Clone, Debug)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// All metrics, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms collected since the last call. Call it every few seconds: between calls every
    /// observation takes memory.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Sets up the recorder of the process. Call it once, before anything is counted.
///
/// # Errors
/// Where there is one already.
pub fn install() -> Result<MetricsHandle, MetricsError> {
    let recorder = builder()?.build_recorder();
    let handle = MetricsHandle(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(|error| MetricsError(error.to_string()))?;
    describe();
    begin();
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_S)
        .map_err(|error| MetricsError(error.to_string()))
}

/// Lets counters begin at 0 that a rule for Prometheus looks at: what a series rose by is not known of its first value. Those with labels
/// begin where their labels are known.
fn begin() {
    for name in [names::JOURNAL_DAMAGED, names::JOURNAL_FAILURES, names::ALERTS_DROPPED] {
        metrics::counter!(name).increment(0);
    }
}

/// Tells Prometheus what the metrics mean.
fn describe() {
    describe_counter!(names::MESSAGES_RECEIVED, "messages received, good and bad");
    describe_counter!(names::MESSAGES_REFUSED, "messages refused because they broke a rule");
    describe_counter!(names::MESSAGES_DUPLICATE, "messages that came before, ignored");
    describe_counter!(names::MESSAGES_SKIPPED, "messages of an unknown type, skipped");
    describe_counter!(names::MESSAGES_STALE, "messages of a scan archived too long ago");
    describe_counter!(names::MESSAGES_MISSING, "messages never seen, by gaps in seq");
    describe_counter!(names::RESEND_REQUESTS, "requests to send messages again");
    describe_counter!(names::RESEND_ASKED, "messages asked for again");
    describe_counter!(names::RESEND_SENT, "messages that senders say they sent again");
    describe_counter!(names::RESEND_GIVEN_UP, "messages asked for in vain");
    describe_counter!(names::RESEND_FAILED, "requests to send again that brought nothing");
    describe_gauge!(names::RESEND_UNDER_WAY, "requests to send again under way");
    describe_counter!(names::BYTES_RECEIVED, Unit::Bytes, "bytes received");
    describe_counter!(names::RECONNECTS, "connections made again");
    describe_counter!(names::SOURCE_OVERSIZE, "messages dropped for their size");
    describe_counter!(names::SOURCE_PEER_ERRORS, "errors of peers");
    describe_gauge!(names::SOURCE_CONNECTED, "peers that are there");
    describe_gauge!(names::SOURCE_IDLE, "1 while no message comes");
    describe_gauge!(names::QUEUE_BYTES, Unit::Bytes, "bytes waiting in a queue");
    describe_histogram!(names::QUEUE_WAIT_SECONDS, Unit::Seconds, "wait for room in a queue");
    describe_gauge!(names::HELD_BYTES, Unit::Bytes, "samples held before their scan_start");
    describe_counter!(names::SAMPLES_STORED, "values stored");
    describe_counter!(names::SAMPLES_REPLACED, "values that replaced one of a lower seq");
    describe_counter!(names::SAMPLES_OUTDATED, "values dropped for one of a higher seq");
    describe_counter!(names::VALUES_FLAWED, "values of archived scans that are not usable, by flaw");
    describe_counter!(names::DETECTOR_PIXELS_LEFT_OUT, "dead and hot detector pixels left out of frames");
    describe_counter!(names::FRAMES_REDUCED, "area frames summed");
    describe_counter!(names::FRAMES_DECODED_BYTES, Unit::Bytes, "what the summed frames have, unpacked");
    describe_counter!(names::FRAMES_DROPPED, "area frames that cannot be read");
    describe_counter!(names::JOURNAL_BYTES, Unit::Bytes, "bytes written to journals");
    describe_gauge!(names::JOURNAL_UNWRITTEN_BYTES, Unit::Bytes, "accepted, but not in the journal yet");
    describe_counter!(names::JOURNAL_FAILURES, "commits of a journal that failed, tried again");
    describe_counter!(names::JOURNAL_DAMAGED, "places of journals that were damaged, left out");
    describe_histogram!(names::JOURNAL_SYNC_SECONDS, Unit::Seconds, "one round of syncing journals");
    describe_counter!(names::SCANS_RESUMED, "scans resumed from their journal");
    describe_gauge!(names::ARCHIVE_WAITING, "ended scans that wait to be archived");
    describe_gauge!(names::SCANS_OPEN, "scans open");
    describe_gauge!(names::SOURCE_SCANS_OPEN, "scans of the source that are open");
    describe_counter!(names::SCANS_ARCHIVED, "scans archived");
    describe_gauge!(names::STACK_BYTES, Unit::Bytes, "memory of all open stacks");
    describe_counter!(names::GENERATIONS_PUBLISHED, "generations of phase maps published");
    describe_gauge!(names::MAP_PIXELS, "pixels of the map that was published last, by status");
    describe_histogram!(names::GENERATION_LATENCY_SECONDS, Unit::Seconds, "from receipt to publication");
    describe_histogram!(names::INFERENCE_SECONDS, Unit::Seconds, "one call of the model");
    describe_counter!(names::INFERENCE_PIXELS, "pixels the model was asked about");
    describe_gauge!(names::UPLOADS_PENDING, "scans to be copied to the remote");
    describe_counter!(names::SCANS_UPLOADED, "scans copied to the remote and read back");
    describe_counter!(names::UPLOADED_BYTES, Unit::Bytes, "bytes copied to the remote");
    describe_counter!(names::UPLOAD_FAILURES, "attempts to copy a scan that failed");
    describe_gauge!(names::UPLOAD_LAST_SUCCESS, Unit::Seconds, "when a scan was last copied");
    describe_counter!(
        names::ARCHIVE_PRUNED_BYTES,
        Unit::Bytes,
        "bytes removed from the archive by its rules"
    );
    describe_counter!(names::ARCHIVE_QUARANTINED, "scans moved to the quarantine");
    describe_gauge!(names::ARCHIVE_DAMAGED, "scans found damaged, outside the quarantine");
    describe_counter!(
        names::DOSE_LAYERS_MERGED,
        "layers of dose of a region with many grids that became one on a common lattice"
    );
    describe_counter!(names::DOSE_FAILURES, "doses that could not be entered in the ledger");
    describe_histogram!(names::DOSE_SECONDS, Unit::Seconds, "one reckoning of the dose of a scan");
    describe_gauge!(names::ALERTS_WAITING, "alerts that wait for the desk");
    describe_counter!(names::ALERTS_DROPPED, "alerts that the desk never saw");
    describe_gauge!(names::ALERTS_OPEN, "alerts that hold");
    describe_gauge!(names::ALERTS_UNATTENDED, "alerts that hold, neither acknowledged nor silenced");
    describe_gauge!(names::ALERTS_SILENCED, "alerts that hold and are silenced");
    describe_counter!(names::ALERTS_TOLD, "alerts told, by level and occasion");
    describe_counter!(names::ALERT_DELIVERIES, "alerts delivered to an output");
    describe_counter!(names::ALERT_DELIVERY_FAILURES, "attempts to deliver an alert that failed");
    describe_counter!(names::ALERT_GIVEN_UP, "alerts that are not delivered any more");
    describe_gauge!(names::ALERT_OUTBOX, "alerts to be delivered to an output");
    describe_counter!(names::PUBLISH_MESSAGES, "messages handed to the PUB socket");
    describe_counter!(names::PUBLISH_BYTES, Unit::Bytes, "bytes handed to the PUB socket");
    describe_counter!(
        names::PUBLISH_SUPERSEDED,
        "maps and spectra that newer ones replaced before they left"
    );
    describe_counter!(names::PUBLISH_DROPPED, "messages that no subscriber, or not every one, was sent");
    describe_gauge!(names::PUBLISH_QUEUED_BYTES, Unit::Bytes, "bytes held for subscribers");
    describe_gauge!(names::PUBLISH_SUBSCRIBERS, "connected subscribers");
    describe_counter!(names::PUBLISH_PEER_ERRORS, "subscribers refused or cut off");
    describe_counter!(names::HTTP_REQUESTS, "answered HTTP requests, by status");
    describe_gauge!(names::DISK_FREE_BYTES, Unit::Bytes, "bytes that can still be written");
    describe_gauge!(names::DISK_SIZE_BYTES, Unit::Bytes, "bytes that the file system has");
    describe_gauge!(names::HTTP_STREAMS, "pages that listen to the news over HTTP");
    describe_gauge!(names::READY, "1 while the daemon does its job, as /readyz says");
    describe_gauge!(names::TROUBLES, "troubles that /readyz lists");
    describe_gauge!(names::BUILD_INFO, "always 1; the label says which version runs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_histograms_are_rendered() {
        // A recorder of this test's own: the global one belongs to the process.
        let recorder = builder().unwrap().build_recorder();
        let handle = MetricsHandle(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            describe();
            begin();
            metrics::counter!(names::MESSAGES_REFUSED, "source" => "a", "reason" => "size").increment(2);
            metrics::histogram!(names::INFERENCE_SECONDS).record(0.003);
        });
        handle.run_upkeep();
        let text = handle.render();
        assert!(text.contains("phasewatch_messages_refused_total{source=\"a\",reason=\"size\"} 2"), "{text}");
        assert!(text.contains("phasewatch_journal_damaged_total 0"), "{text}");
        assert!(text.contains("phasewatch_inference_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("phasewatch_inference_seconds_bucket{le=\"0.001\"} 0"), "{text}");
    }
}
