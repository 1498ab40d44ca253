/// What one rank has measured in one run.
struct RankFigures: BitwiseCopyable {
  /// From when all ranks were ready to the end of its own part.
  var seconds = 0.0
  /// Time in the kernels.
  var computing = 0.0
  /// Time in which it had nothing to compute.
  var waiting = 0.0
  /// Processor time of all its threads, of user and system.
  var processorSeconds = 0.0
  var bytesSent = 0
  var messagesSent = 0
}
