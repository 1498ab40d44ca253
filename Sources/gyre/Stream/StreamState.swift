import Doctor
import LongNet
import SequenceParallel

/// What a rank has done so far: all that a checkpoint has to remember.
struct StreamState: Codable {
  /// Windows finished, in the order in which the rank takes them.
  var windows = 0
  /// Tokens of those windows, in all sequences.
  var tokens = 0
  /// (query, key) pairs of those windows.
  var pairs = 0.0
  /// Time for those windows, in all runs together, without the check.
  var seconds = 0.0
  /// Thereof reading or generating rows.
  var readSeconds = 0.0
  /// Thereof in the kernels.
  var computeSeconds = 0.0
  /// The most of any run.
  var peakResidentBytes = 0
  /// The sum of the digests of the windows.
  var outputDigest = OutputDigest()
  /// What the check of sampled rows has found.
  var finding = DilatedSampleCheck.Finding()
}
