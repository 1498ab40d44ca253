import Glibc

/// `s + ln M` for a key of the task, `s` for others, where the windows of a sequence are M.
public struct ReferenceOwnKeyWeight: ReferenceScoreRule {
  /// For each sequence, the window of each key; negative for the task.
  public let windows: [[Int]]
  /// For each sequence, ln M.
  private let bias: [Double]

  /// Creates the rule.
  public init(windows: [[Int]]) {
    self.windows = windows
    bias = windows.map { log(Double(max(1, Set($0.filter { $0 >= 0 }).count))) }
  }

  /// `s + ln M`, or `s`.
  public func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    windows[batch][key] < 0 ? s + bias[batch] : s
  }

  /// 1.
  public func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }
}
