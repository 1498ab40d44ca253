import ScalingModel

/// Tells on a terminal how far a long prediction is.
struct PredictionMeter {
  private let terminal = Terminal.openForProgress()

  /// Runs a prediction, which is told whom to tell.
  func measuring(_ body: ((_ share: Double) -> Void) -> Prediction) -> Prediction {
    var line = ProgressLine(total: 1000, on: terminal)
    var done = 0
    let prediction = body { share in
      let now = Int(share * 1000)
      line.advance(by: now - done)
      done = now
    }
    line.clear()
    return prediction
  }
}
