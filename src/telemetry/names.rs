//! Names of all metrics, with what they mean.
//!
//! Counters end in `_total`, and a name ends in its unit otherwise. The label `source` is the name of a
//! `[[source]]`; nothing is ever labelled by scan or pixel, which would grow without end.

/// Counter, label `source`: messages received, good and bad. Like every count of messages it is kept where they are
/// taken out of the queue; what still waits there is in [`QUEUE_BYTES`].
pub const MESSAGES_RECEIVED: &str = "phasewatch_messages_received_total";
/// Counter, labels `source`, `reason`: messages refused whole because they broke a rule.
pub const MESSAGES_REFUSED: &str = "phasewatch_messages_refused_total";
/// Counter, label `source`: messages that came before with the same seq, and were ignored.
pub const MESSAGES_DUPLICATE: &str = "phasewatch_messages_duplicate_total";
/// Counter, label `source`: messages skipped because their type is not known.
pub const MESSAGES_SKIPPED: &str = "phasewatch_messages_skipped_total";
/// Counter, label `source`: messages of a scan that was archived too long ago, or aborted.
pub const MESSAGES_STALE: &str = "phasewatch_messages_stale_total";
/// Counter, label `source`: messages that had not come when their scan ended, by the gaps in seq.
pub const MESSAGES_MISSING: &str = "phasewatch_messages_missing_total";
/// Counter, label `source`: requests to send messages again.
pub const RESEND_REQUESTS: &str = "phasewatch_resend_requests_total";
/// Counter, label `source`: messages asked for again, each time they are; those of an open range are not counted.
pub const RESEND_ASKED: &str = "phasewatch_resend_messages_asked_total";
/// Counter, label `source`: messages that senders say they sent again.
pub const RESEND_SENT: &str = "phasewatch_resend_messages_sent_total";
/// Counter, label `source`: messages given up after they were asked for often enough.
pub const RESEND_GIVEN_UP: &str = "phasewatch_resend_messages_given_up_total";
/// Counter, labels `source`, `cause` (connect, timeout, lost, answer, refused, queue, or address: it may not be asked):
/// requests that brought nothing.
pub const RESEND_FAILED: &str = "phasewatch_resend_failed_total";
/// Gauge: requests to send again that are under way.
pub const RESEND_UNDER_WAY: &str = "phasewatch_resend_under_way";
/// Counter, label `source`: bytes received, headers and payloads.
pub const BYTES_RECEIVED: &str = "phasewatch_received_bytes_total";
/// Counter, label `source`: connections made again after they were lost or silent.
pub const RECONNECTS: &str = "phasewatch_source_reconnects_total";
/// Counter, label `source`: messages dropped for their size.
pub const SOURCE_OVERSIZE: &str = "phasewatch_source_oversize_total";
/// Counter, labels `source`, `cause`: errors of peers.
pub const SOURCE_PEER_ERRORS: &str = "phasewatch_source_peer_errors_total";
/// Gauge, label `source`: peers that are there, 1 or 0 for a source that connects.
pub const SOURCE_CONNECTED: &str = "phasewatch_source_connected";
/// Gauge, label `source`: 1 while no message has come for the configured time.
pub const SOURCE_IDLE: &str = "phasewatch_source_idle";
/// Gauge, label `queue`: bytes waiting in a queue now.
pub const QUEUE_BYTES: &str = "phasewatch_queue_bytes";
/// Histogram, label `queue`, seconds: how long senders waited for room since the last look, a few seconds ago; a wait that is not over
/// counts as far as it has come.
pub const QUEUE_WAIT_SECONDS: &str = "phasewatch_queue_wait_seconds";
/// Gauge: bytes of samples held because their scan_start has not come.
pub const HELD_BYTES: &str = "phasewatch_held_bytes";
/// Counter: values stored in a stack.
pub const SAMPLES_STORED: &str = "phasewatch_samples_stored_total";
/// Counter: values that replaced one of a lower seq.
pub const SAMPLES_REPLACED: &str = "phasewatch_samples_replaced_total";
/// Counter: values that came after one of a higher seq, and were dropped.
pub const SAMPLES_OUTDATED: &str = "phasewatch_samples_outdated_total";
/// Counter, label `flaw` (beam_loss, stuck, bad_line, saturated, nonlinear): values of archived scans that were not usable.
pub const VALUES_FLAWED: &str = "phasewatch_values_flawed_total";
/// Counter, label `kind` (dead, hot): detector pixels left out of frames, message by message.
pub const DETECTOR_PIXELS_LEFT_OUT: &str = "phasewatch_detector_pixels_left_out_total";
/// Counter: area frames that were summed.
pub const FRAMES_REDUCED: &str = "phasewatch_frames_reduced_total";
/// Counter: bytes that the summed frames have when they are unpacked.
pub const FRAMES_DECODED_BYTES: &str = "phasewatch_frames_decoded_bytes_total";
/// Counter, label `cause` (header, size, block_size, cut, corrupt, trailing, encoding): area frames that cannot be read, and
/// count as not measured.
pub const FRAMES_DROPPED: &str = "phasewatch_frames_dropped_total";
/// Counter: bytes written to journals.
pub const JOURNAL_BYTES: &str = "phasewatch_journal_bytes_total";
/// Gauge: bytes of accepted events that are in memory because the journal cannot be written.
pub const JOURNAL_UNWRITTEN_BYTES: &str = "phasewatch_journal_unwritten_bytes";
/// Counter: commits of a journal that failed, and are tried again.
pub const JOURNAL_FAILURES: &str = "phasewatch_journal_failures_total";
/// Counter: places of journals that were found damaged, and left out.
pub const JOURNAL_DAMAGED: &str = "phasewatch_journal_damaged_total";
/// Histogram, seconds: one round of syncing journals to the disk.
pub const JOURNAL_SYNC_SECONDS: &str = "phasewatch_journal_sync_seconds";
/// Counter: scans that were resumed from their journal.
pub const SCANS_RESUMED: &str = "phasewatch_scans_resumed_total";
/// Gauge: ended scans that could not be archived yet, and are tried again.
pub const ARCHIVE_WAITING: &str = "phasewatch_archive_waiting";
/// Gauge: scans open now.
pub const SCANS_OPEN: &str = "phasewatch_scans_open";
/// Gauge, label `source`: its scans that are open now; of one that tells where the frames of another belong, those of the other.
pub const SOURCE_SCANS_OPEN: &str = "phasewatch_source_scans_open";
/// Counter, label `outcome` (complete, aborted, partial): scans archived.
pub const SCANS_ARCHIVED: &str = "phasewatch_scans_archived_total";
/// Gauge: bytes of all open stacks.
pub const STACK_BYTES: &str = "phasewatch_stack_bytes";
/// Counter: generations of phase maps published.
pub const GENERATIONS_PUBLISHED: &str = "phasewatch_generations_published_total";
/// Gauge, label `status`: pixels of the map that was published last, whichever scan it is of.
pub const MAP_PIXELS: &str = "phasewatch_map_pixels";
/// Histogram, seconds: from the receipt of the oldest message that is new in a generation to its publication.
pub const GENERATION_LATENCY_SECONDS: &str = "phasewatch_generation_latency_seconds";
/// Histogram, seconds: one call of the model.
pub const INFERENCE_SECONDS: &str = "phasewatch_inference_seconds";
/// Counter: pixels the model was asked about.
pub const INFERENCE_PIXELS: &str = "phasewatch_inference_pixels_total";
/// Gauge: scans that are to be copied to the remote.
pub const UPLOADS_PENDING: &str = "phasewatch_uploads_pending";
/// Counter: scans copied to the remote, every file read back.
pub const SCANS_UPLOADED: &str = "phasewatch_scans_uploaded_total";
/// Counter: bytes of files of scans that were copied; what was there already does not count.
pub const UPLOADED_BYTES: &str = "phasewatch_uploaded_bytes_total";
/// Counter, label `cause` (remote, scan): attempts to copy a scan that failed, for the remote's sake or the scan's own.
pub const UPLOAD_FAILURES: &str = "phasewatch_upload_failures_total";
/// Gauge: when a scan was last copied, Unix time in seconds; absent until then.
pub const UPLOAD_LAST_SUCCESS: &str = "phasewatch_upload_last_success_timestamp_seconds";
/// Counter: bytes of large files removed from the archive by its rules.
pub const ARCHIVE_PRUNED_BYTES: &str = "phasewatch_archive_pruned_bytes_total";
/// Counter: scans moved to the quarantine.
pub const ARCHIVE_QUARANTINED: &str = "phasewatch_archive_quarantined_scans_total";
/// Gauge: scans found damaged, outside the quarantine, as of the last daily look.
pub const ARCHIVE_DAMAGED: &str = "phasewatch_archive_damaged_scans";
/// Counter: layers of dose of regions with many grids that became one on a common lattice.
pub const DOSE_LAYERS_MERGED: &str = "phasewatch_dose_layers_merged_total";
/// Counter: doses that could not be entered in the ledger; their scans are archived once more after the next start.
pub const DOSE_FAILURES: &str = "phasewatch_dose_failures_total";
/// Histogram: one reckoning of the dose of a scan, seconds.
pub const DOSE_SECONDS: &str = "phasewatch_dose_seconds";
/// Gauge: alerts that wait for the desk.
pub const ALERTS_WAITING: &str = "phasewatch_alerts_waiting";
/// Counter: alerts that the desk never saw, since too many waited for it.
pub const ALERTS_DROPPED: &str = "phasewatch_alerts_dropped_total";
/// Gauge, label `level` (notice, warning, critical): alerts that hold.
pub const ALERTS_OPEN: &str = "phasewatch_alerts_open";
/// Gauge, label `level`: alerts that hold, and that nobody has acknowledged or silenced.
pub const ALERTS_UNATTENDED: &str = "phasewatch_alerts_unattended";
/// Gauge: alerts that hold and are silenced.
pub const ALERTS_SILENCED: &str = "phasewatch_alerts_silenced";
/// Counter, labels `level`, `occasion` (raised, reminder, over, acknowledged): what was told.
pub const ALERTS_TOLD: &str = "phasewatch_alerts_told_total";
/// Counter, label `output` (the name of a webhook or command): deliveries of alerts.
pub const ALERT_DELIVERIES: &str = "phasewatch_alert_deliveries_total";
/// Counter, label `output`: attempts to deliver that failed.
pub const ALERT_DELIVERY_FAILURES: &str = "phasewatch_alert_delivery_failures_total";
/// Counter, labels `output`, `cause` (age, refused, failed, overflow): alerts that are not delivered any more.
pub const ALERT_GIVEN_UP: &str = "phasewatch_alert_given_up_total";
/// Gauge, label `output`: alerts to be delivered.
pub const ALERT_OUTBOX: &str = "phasewatch_alert_outbox";
/// Gauge: 1 while `/readyz` answers 200.
pub const READY: &str = "phasewatch_ready";
/// Gauge, label `grave` (true, false): troubles that `/readyz` lists.
pub const TROUBLES: &str = "phasewatch_troubles";
/// Gauge, label `version`: always 1; says which version runs.
pub const BUILD_INFO: &str = "phasewatch_build_info";
/// Counter, label `kind` (the first part of the topic): messages handed to the PUB socket.
pub const PUBLISH_MESSAGES: &str = "phasewatch_publish_messages_total";
/// Counter, label `kind`: their bytes.
pub const PUBLISH_BYTES: &str = "phasewatch_publish_bytes_total";
/// Counter, label `kind`: maps and spectra that newer ones replaced before they left.
pub const PUBLISH_SUPERSEDED: &str = "phasewatch_publish_superseded_total";
/// Counter, label `kind`: events of which too many waited, messages that alone exceed the byte budget, and messages that a
/// subscriber with a full queue lost.
pub const PUBLISH_DROPPED: &str = "phasewatch_publish_dropped_total";
/// Gauge: bytes held for subscribers.
pub const PUBLISH_QUEUED_BYTES: &str = "phasewatch_publish_queued_bytes";
/// Gauge: connected subscribers.
pub const PUBLISH_SUBSCRIBERS: &str = "phasewatch_publish_subscribers";
/// Counter: subscribers refused or cut off: no ZMTP 3, the wrong kind of socket, too many.
pub const PUBLISH_PEER_ERRORS: &str = "phasewatch_publish_peer_errors_total";
/// Counter, label `status`: answered HTTP requests.
pub const HTTP_REQUESTS: &str = "phasewatch_http_requests_total";
/// Gauge, label `disk` (archive, state): bytes that the daemon's user may still write there, as of the last look.
pub const DISK_FREE_BYTES: &str = "phasewatch_disk_free_bytes";
/// Gauge, label `disk`: bytes that the file system has in all.
pub const DISK_SIZE_BYTES: &str = "phasewatch_disk_size_bytes";
/// Gauge: pages that listen to the news over HTTP.
pub const HTTP_STREAMS: &str = "phasewatch_http_streams";
