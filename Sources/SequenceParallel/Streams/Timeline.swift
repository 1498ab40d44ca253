/// What a rank did when: spans on three tracks, for a picture of a run.
///
/// Times are those of the machine's clock, so that the ranks of one machine are on one scale.
public final class Timeline {
  /// A line of the picture.
  public enum Track: Int, CaseIterable, Sendable {
    case computing, waiting, transfers
  }

  /// A span of time.
  public struct Span: Sendable {
    /// The line it is drawn on.
    public let track: Track
    /// What was done.
    public let name: String
    /// Seconds since the start of the timeline.
    public let start: Double
    /// Seconds.
    public let duration: Double
    /// Bytes that were moved, if any.
    public let bytes: Int
  }

  /// In the order in which they ended.
  public private(set) var spans: [Span] = []
  private var origin: ContinuousClock.Instant

  /// Starts now.
  public init() {
    origin = .now
  }

  /// Starts again, now: after a barrier, so that the ranks' timelines begin together.
  public func restart() {
    spans = []
    origin = .now
  }

  /// Notes what has been done.
  package func note(
    _ track: Track, _ name: @autoclosure () -> String, from start: ContinuousClock.Instant,
    to end: ContinuousClock.Instant, bytes: Int = 0
  ) {
    spans.append(
      Span(
        track: track, name: name(), start: (start - origin) / .seconds(1),
        duration: (end - start) / .seconds(1), bytes: bytes))
  }
}
