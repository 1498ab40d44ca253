import Glibc

extension Calibration {
  /// Fits all numbers to runs.
  ///
  /// What counts is how far the logarithms of predicted and measured seconds are apart, of runs and
  /// of the same without transfers, and of how much longer the slowest rank computes than the mean:
  /// ``RobustLoss``, since a host on which others work makes single runs slow by much. Each number
  /// is drawn a little towards what the description says: a factor of e counts as much as an error
  /// of 1 %. That of memory is drawn 400 times as much: runs say little of it, as most of it hides
  /// behind computing. So are the drifts of comparisons, which have a mean of about 1 by that.
  ///
  /// - Complexity: about a thousand predictions of every run.
  public init(fitting runs: [MeasuredRun]) {
    var places: [String: Int] = [:]
    for run in runs {
      guard let comparison = run.comparison, places[comparison] == nil else { continue }
      places[comparison] = places.count
    }
    if places.count < 2 { places = [:] }
    func misfit(_ place: [Double]) -> Double {
      let misfits = Misfits(of: Calibration(logarithms: place, runs), to: runs, places)
      let drawn = zip(place, Self.drawn).reduce(0.0) { $0 + $1.1 * $1.0 * $1.0 }
      return misfits.sum(Self.drawnDrift) + drawn
    }
    var best = [Double](repeating: 0, count: Self.count)
    // A second search from where the first has ended, which may be a fold.
    for step in [0.3, 0.1] {
      best = NelderMead.minimum(of: misfit, from: best, step: step, evaluations: 400)
    }
    self = Calibration(logarithms: best, runs)
    let misfits = Misfits(of: self, to: runs, places)
    drifts = places.mapValues { exp(misfits.drift(of: $0, Self.drawnDrift)) }
  }

  /// Of each logarithm, what its square counts.
  private static let drawn = [1, 1, 1, 1, 1, 1, 400, 1].map { $0 * RobustLoss.of(0.01) }
  private static let drawnDrift = 400 * RobustLoss.of(0.01)

  /// How far predictions are from what was measured, as logarithms of their quotients.
  private struct Misfits {
    /// Of seconds of each comparison, and those of runs that are in none last.
    private var ofSeconds: [[Double]]
    /// Of how much longer the slowest rank computes than the mean.
    private var ofUnevenness: [Double] = []

    init(of calibration: Calibration, to runs: [MeasuredRun], _ places: [String: Int]) {
      ofSeconds = [[Double]](repeating: [], count: places.count + 1)
      for run in runs {
        let predicted = run.predicted(calibration)
        let place = run.comparison.flatMap { places[$0] } ?? places.count
        ofSeconds[place].append(log(predicted.seconds / run.seconds))
        if let measured = run.computeOnlySeconds {
          ofSeconds[place].append(log(run.predictedComputeOnlySeconds(calibration) / measured))
        }
        if run.tellsUnevenness, let measured = run.unevenness,
          let unevenness = predicted.unevenness
        {
          ofUnevenness.append(log(unevenness / measured))
        }
      }
    }

    /// The logarithm by which all seconds of a comparison are missed alike.
    func drift(of place: Int, _ drawn: Double) -> Double {
      -RobustLoss.centre(of: ofSeconds[place], drawn: drawn)
    }

    /// What all of them count, where comparisons have drifted.
    func sum(_ drawn: Double) -> Double {
      var sum = ofUnevenness.reduce(0) { $0 + RobustLoss.of($1) }
      for place in ofSeconds.indices {
        let isComparison = place < ofSeconds.count - 1
        let drift = isComparison ? drift(of: place, drawn) : 0
        sum += ofSeconds[place].reduce(drawn * drift * drift) { $0 + RobustLoss.of($1 + drift) }
      }
      return sum
    }
  }
}
