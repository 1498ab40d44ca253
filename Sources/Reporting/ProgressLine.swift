import Glibc

/// One line on a terminal that tells how far a long computation is.
///
/// It shows percent, time so far and time left, and nothing in the first two seconds.
package struct ProgressLine {
  private let what: String
  private let total: Int
  private let terminal: Int32?
  private let start = ContinuousClock.now
  private var done = 0
  private var nextUpdate: ContinuousClock.Instant
  private var hasPrinted = false

  /// Prepares a line on a terminal, or none.
  ///
  /// - Parameter what: the word before the numbers.
  package init(_ what: String = "attention", total: Int, on terminal: Int32?) {
    self.what = what
    self.total = max(1, total)
    self.terminal = terminal
    nextUpdate = start + .seconds(2)
  }

  /// Counts work, and draws the line anew if it is time.
  package mutating func advance(by amount: Int) {
    guard terminal != nil else { return }
    done += amount
    let now = ContinuousClock.now
    guard now >= nextUpdate else { return }
    nextUpdate = now + .milliseconds(500)
    hasPrinted = true
    let fraction = min(0.99, Double(done) / Double(total))
    let elapsed = (now - start).inSeconds
    let left = elapsed * (1 - fraction) / max(fraction, 0.001)
    draw(
      "\(what) \(Int(fraction * 100)) %, \(formatSeconds(elapsed.rounded())), "
        + "about \(formatSeconds(left.rounded())) left")
  }

  /// Takes the line away.
  package func clear() {
    if hasPrinted { draw("") }
  }

  private func draw(_ text: String) {
    // Back to the start of the line, and erase to its end.
    if let terminal { write("\r\u{1B}[K\(text)", to: terminal) }
  }
}
