import Doctor
import SequenceParallel

/// What `--verify` found.
struct Findings {
  let output: SampledCheck.Finding
  /// Nil unless gradients were asked for.
  let gradients: SampledCheck.Finding?

  /// What is wrong, in words; nil if nothing is.
  var failure: String? {
    if !output.holds { return sentence("output", output) }
    if let gradients, !gradients.holds { return sentence("gradient", gradients) }
    return nil
  }

  private func sentence(_ what: String, _ finding: SampledCheck.Finding) -> String {
    "the largest \(what) error is \(finding.maxError), \(finding.tolerance) is allowed"
      + (finding.wireTolerance > 0
        ? ", \(finding.wireTolerance) of it for rounding on the wire" : "")
  }
}
