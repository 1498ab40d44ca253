package import Reporting

/// The progress of a benchmark whose work is known beforehand, which it says first.
package struct AnnouncedProgress {
  private let seconds: [Double]
  private let all: Double
  private var line: ProgressLine

  /// Of the whole.
  private static let steps = 1e6

  /// - Parameters:
  ///   - name: of the benchmark.
  ///   - what: the things that it measures, in a noun.
  ///   - seconds: about how long each takes.
  ///   - place: where somebody watches; nil for nobody.
  package init(_ name: String, _ what: String, seconds: [Double], on place: ProgressPlace?) {
    self.seconds = seconds
    all = max(seconds.reduce(0, +), 1e-9)
    line = ProgressLine("bench \(name)", total: Int(Self.steps), on: place)
    guard place != nil else { return }
    printError(
      "gyre: bench \(name): \(counted(seconds.count, what)), \(aboutSeconds(all)).")
  }

  /// Counts a part of one of the things.
  package mutating func advance(_ index: Int, by part: Double = 1) {
    line.advance(by: Int(Self.steps * part * seconds[index] / all))
  }

  /// Takes the line of a terminal away; the next advance may draw it again.
  package mutating func clear() { line.clear() }
}
