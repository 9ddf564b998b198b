// @ts-check
// What the daemon answers, for the checker only: nothing here runs. The routes are in /api/v1/openapi.json.

/** @typedef {[number, number, number]} Rgb */
/** @typedef {{ phase: string, title: string, colour: Rgb, fraction: number, pixels?: number }} Fraction */
/** @typedef {{ energy_ev: number, energy_index: number|null, gain: number, seconds: number, relative_worth: number, separates: string[], text: string }} Candidate */
/** @typedef {{ stop: boolean, expected_change: number|null, energies_left: number, seconds_left: number, dose_left: number, text: string }} Stop */
/** @typedef {{ text: string, caution?: string, next: Candidate[], sequence_ev: number[], stop: Stop, open: { ambiguous: number, wrong: number, pixels: number } }} Advice */
/** @typedef {{ offset_ev: number|null, error_ev: number|null, trusted: boolean, alarming: boolean, correction_ev: number }} Offset */
/**
 * @typedef {object} Scan
 * @property {string} scan_id
 * @property {string} beamline
 * @property {string|null} sample
 * @property {string|null} region
 * @property {string|null} source
 * @property {boolean} simulated
 * @property {"started"|"running"|"paused"|"ended"|"archived"} state
 * @property {{ status: string, [more: string]: unknown }|null} outcome
 * @property {number} energies_done
 * @property {number} energies_total
 * @property {number} measured_values
 * @property {number} planned_values
 * @property {{ first: number, last: number }[]} gaps
 * @property {number} generation
 * @property {Advice} [advice]
 * @property {Fraction[]} fractions
 * @property {Record<string, number>} status_counts
 * @property {Offset|null} energy_offset
 * @property {{ source: string, problem: string|null, flawed: Record<string, number>, flawed_lines: Record<string, number> }} [i0]
 * @property {{ applied: boolean, text: string }|null} drift
 * @property {{ unit: string, total: { mean: number, max: number } }} [dose]
 * @property {string} started
 * @property {string} last_update
 * @property {string|null} archive_path
 * @property {string[]} notes
 */
/** @typedef {{ energy_ev: number, corrected_ev: number, coverage: number, i0: number|null, shift: [number, number]|null, shift_error: [number, number]|null }} EnergyView */
/** @typedef {{ phase: string, title: string, colour: Rgb, state?: { name: string, value: number }|null }} PhaseView */
/** @typedef {{ name: string, title: string, unit: string, dtype: "u8"|"u16"|"f32", kind: "phase"|"category"|"number"|"flag", low: number, high: number, about: string, per_energy: boolean }} LayerView */
/**
 * @typedef {object} View
 * @property {string} scan_id
 * @property {number} generation
 * @property {string} revision
 * @property {boolean} live
 * @property {boolean} simulated
 * @property {[number, number]} shape
 * @property {[number, number]} step
 * @property {[number, number]} origin
 * @property {string} unit
 * @property {[boolean, boolean]} flip
 * @property {EnergyView[]} energies
 * @property {PhaseView[]} phases
 * @property {string[]} clusters
 * @property {string[]} statuses
 * @property {string[]} methods
 * @property {string[]} ambiguities
 * @property {LayerView[]} layers
 * @property {{ available: boolean, why_not: string|null }} spectra
 * @property {{ available: boolean, why_not: string|null }} latent
 * @property {{ available: boolean, revision: string|null }} findings
 */
/** @typedef {{ energy_ev: number[], corrected_ev: number[], od: (number|null)[], sigma: (number|null)[], pixels: number[], fit: { parts: { phase: string, weight: number }[], constant: number, chi2: number, od: (number|null)[] }|null, references: { phase: string, od: (number|null)[] }[] }} Spectrum */
/** @typedef {{ row: number, column: number, y: number, x: number, unit: string, revision: string, values: Record<string, string|number|boolean|null>, correlations: { phase: string, value: number }[], posterior: { cluster: string, value: number }[], readings: string[], spectrum: Spectrum|null, why_no_spectrum: string|null }} PixelAnswer */
/** @typedef {{ pixels: number, area: number, area_unit: string, revision: string, status_counts: Record<string, number>, fractions: Fraction[], confidence: number|null, dose_mgy: number|null, spectrum: Spectrum|null, why_no_spectrum: string|null }} RegionAnswer */
/** @typedef {{ model: string, axes: string[], pixels: number[], u: number[], v: number[], phase: number[], references?: { phase: string, u: number, v: number }[] }} Latent */
/** @typedef {{ time: string, generation: number, energies_done: number, measured_values: number, fractions: number[], status_counts: Record<string, number>, confidence: number|null, dose_mgy: number|null, offset_ev: number|null, offset_error_ev: number|null }} TrendPoint */
/** @typedef {{ low: number, middle: number, high: number }} Interval */
/** @typedef {{ value: number, sigma: number }} Estimate */
/**
 * @typedef {object} Particle
 * @property {number} id
 * @property {[number, number]} centre_px
 * @property {[number, number]} centre
 * @property {Estimate} area_px
 * @property {Estimate|null} area_um2
 * @property {boolean} at_border
 * @property {boolean} [overlaps] missing in older archives
 * @property {number[]} touches
 * @property {Estimate|null} thickness_nm
 * @property {Estimate[]} shares
 * @property {Interval|null} x
 * @property {number} unknown
 * @property {number|null} x_spread
 * @property {number|null} entropy_bits
 * @property {[number, number][][]} [outline] closed polygons; corners are column and row
 */
/** @typedef {{ scan_id: string, generation: number, simulated: boolean, text?: string, phases: string[], variable: string|null, particles: Particle[], left_out: { pieces: number, pixels: number } }} Findings */
/** @typedef {{ signal: string, energy_ev: number|null, of: string, series: { readings: { dose: number, time_s: number, value: number, sigma: number }[], plateau: { value: number, sigma: number }|null }, is_real: boolean, scale: number, lost: Interval, lost_at_end: Interval|null, initial_rate: Interval, critical_dose: Interval|null, law: [string, number] }} Finding */
/** @typedef {{ scan_id: string, simulated: boolean, unit: string, unit_text: string, remarks: string[], findings: Finding[] }} Damage */
/**
 * @typedef {object} Alert
 * @property {string} id
 * @property {"notice"|"warning"|"critical"} level
 * @property {"raised"|"over"} state
 * @property {string} time
 * @property {string} scan_id
 * @property {string|null} sample
 * @property {string|null} region
 * @property {string} rule
 * @property {string} signal
 * @property {string} of
 * @property {string} text
 * @property {string} verdict
 * @property {string[]} evidence_for
 * @property {string[]} evidence_against
 * @property {string} advice
 * @property {boolean} simulated
 * @property {boolean} test
 * @property {boolean} acknowledged
 * @property {{ by: string, note: string|null, time: string }|null} acknowledgement
 * @property {boolean} silenced
 * @property {{ number: number, until: string|null, by: string }|null} silence
 * @property {string} raised
 * @property {string} heard
 */
/** @typedef {{ part: string, what: string, grave: boolean }} Trouble */
/** @typedef {{ base: string|null, scan_id: string, name: string, beamline: string, date: string, sample: string|null, region: string|null, started: string, shape: [number, number], energies: number, outcome: string, provisional: boolean, simulated: boolean, quarantined: boolean, pruned: boolean, coverage: number, fractions: Fraction[], dose_mgy: number|null, bytes: number, files: { name: string, bytes: number }[] }} Archived */
/** @typedef {{ name: string, kind: string, address: string, connected: boolean, messages: number, bytes: number, messages_per_s: number, bytes_per_s: number, last_message_s: number|null, refused: number|null, lost: number|null, last_error?: string|null }} Source */
/** @typedef {{ name: string, about: string, used: number|null, bound: number, unit: string, dropped: number|null }} Queue */
/** @typedef {{ version: string, started: string, uptime_s: number, status: string, troubles: Trouble[], sources: Source[], queues: Queue[], model: { path: string|null, name?: string|null, clusters?: string[], sha256: string|null, state: string, why: string|null }, references: { path: string|null, sha256: string|null, phases: PhaseView[] }, disk: { what: string, path: string, free_bytes: number, total_bytes: number }[], archive: { root: string, scans?: number, waiting: number }, publish: { address: string, subscribers: number }, can: { archive_now: boolean, load_model: boolean }, token_needed_to_read: boolean }} System */

export {};
