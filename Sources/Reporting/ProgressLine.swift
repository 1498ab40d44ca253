import Glibc

/// Where people see how far a long computation is.
package enum ProgressPlace: Sendable {
  /// On a terminal, where one line is drawn anew.
  case terminal(Int32)
  /// In a file or a pipe, which gets a line now and then: after so many seconds, and then the more
  /// seldom the longer it takes, but one a minute.
  case log(Int32, every: Double = 10)
}

/// How far a long computation is: percent, time so far and time left.
///
/// A terminal sees nothing in the first two seconds.
package struct ProgressLine {
  private let what: String
  private let total: Int
  private let place: ProgressPlace?
  private let start = ContinuousClock.now
  private var done = 0
  private var nextUpdate: ContinuousClock.Instant
  private var isDrawn = false
  /// No more time than this is left; nil where nothing ends it early.
  private let seconds: Double?
  /// What the whole is made of, in other words than `total`.
  private let parts: (count: Int, name: String)?

  /// Prepares a line in some place, or none.
  ///
  /// - Parameters:
  ///   - what: the words before the numbers.
  ///   - seconds: after which the computation ends however far it is.
  ///   - parts: what the whole is made of, whose mean rate so far is said too: tokens, for example.
  package init(
    _ what: String = "attention", total: Int, seconds: Double? = nil,
    parts: (count: Int, name: String)? = nil, on place: ProgressPlace?
  ) {
    self.what = what
    self.total = max(1, total)
    self.seconds = seconds
    self.parts = parts
    self.place = place
    switch place {
    case .terminal, nil: nextUpdate = start + .seconds(2)
    case .log(_, let interval): nextUpdate = start + .seconds(interval)
    }
  }

  /// Counts work, and says how far it is if it is time.
  package mutating func advance(by amount: Int) {
    guard let place else { return }
    done += amount
    let now = ContinuousClock.now
    guard now >= nextUpdate else { return }
    let elapsed = (now - start).inSeconds
    switch place {
    case .terminal(let terminal):
      nextUpdate = now + .milliseconds(500)
      isDrawn = true
      Self.draw(text(elapsed), on: terminal)
    case .log(let log, let interval):
      nextUpdate = now + .seconds(min(60, max(interval, elapsed / 2)))
      write("gyre: \(text(elapsed))\n", to: log)
    }
  }

  private func text(_ elapsed: Double) -> String {
    let fraction = min(0.99, Double(done) / Double(total))
    let atThisPace = elapsed * (1 - fraction) / max(fraction, 0.001)
    let left = min(atThisPace, seconds.map { max(0, $0 - elapsed) } ?? .infinity)
    return "\(what) \(Int(fraction * 100)) %, \(formatSeconds(elapsed.rounded())), "
      + "about \(formatSeconds(left.rounded())) left"
      + (parts.map {
        ", \(threeDigits(fraction * Double($0.count) / max(elapsed, 1e-9))) \($0.name) a second"
      } ?? "")
  }

  /// Takes the line of a terminal away; the next advance may draw it again.
  package mutating func clear() {
    if isDrawn, case .terminal(let terminal) = place { Self.draw("", on: terminal) }
    isDrawn = false
  }

  /// Back to the start of the line, which is erased to its end.
  private static func draw(_ text: String, on terminal: Int32) {
    write("\r\u{1B}[K\(text)", to: terminal)
  }
}
