/// What a pass is expected to take.
public struct Prediction: Hashable, Sendable {
  /// Ranks that take part.
  public let ranks: Int
  /// Hosts that they are on.
  public let hosts: Int
  /// Of the slowest rank.
  public let seconds: Double
  /// Mean time computing, with what threads that share cores take from each other.
  public let computeSeconds: Double
  /// What is left of the time beyond the computing of the rank that computes longest: transfers
  /// that do not hide, the work that they are, and the start of the pass.
  public let exposedSeconds: Double
  /// The longest time computing of any rank less the mean.
  public let imbalanceSeconds: Double
  /// The most that a rank sends.
  public let bytesSentPerRank: Double
  /// The most memory that tensors of a rank take.
  public let residentBytes: Double
  /// Useful flops of all ranks.
  public let flops: Double
  /// One rank's time for the whole problem over P times this, by the same kernel.
  public let efficiency: Double
  /// What keeps it from being 1.
  public let limit: Limit

  /// What most of the lost time goes to.
  public enum Limit: String, Sendable, CaseIterable {
    /// Less than 2 % is lost.
    case none
    /// More bytes than the links carry meanwhile.
    case bandwidth
    /// So many short steps.
    case latency
    /// Fewer heads than the ranks that share them, or a number that they do not divide.
    case heads
    /// Some ranks have more to do, or are slower at times.
    case imbalance
    /// Pieces too small for the kernel.
    case kernel
    /// Threads that share cores.
    case cores
  }
}
