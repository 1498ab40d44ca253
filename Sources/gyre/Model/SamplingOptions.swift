import ArgumentParser
import Models

/// How tokens are drawn.
struct SamplingOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("0 takes the most likely token, 1 draws as the model says.", valueName: "x"))
  var temperature = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Only so many of the most likely. (default: all)", valueName: "n"))
  var topK: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Only the most likely that together have this probability.", valueName: "p"))
  var topP = 1.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Only those that have this part of the largest probability.", valueName: "p")
  )
  var minP = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Logits of the last 64 tokens are divided by it, or multiplied where they are negative.",
      valueName: "x"))
  var repeatPenalty = 1.0

  @Option(parsing: .unconditional, help: "The seed of what is drawn.")
  var seed: UInt64 = 0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      So many texts after one prompt, which is read once and whose keys and values they share; \
      they grow together. Their seeds are --seed and the numbers after it.
      """, valueName: "n"))
  var samples = 1

  func validate() throws {
    guard temperature >= 0, temperature.isFinite else {
      throw ValidationError("--temperature is \(temperature); give a number from 0 on.")
    }
    if let topK, topK < 1 { throw ValidationError("--top-k is \(topK); give at least 1.") }
    guard topP > 0, topP <= 1 else {
      throw ValidationError("--top-p is \(topP); give a number above 0, at most 1.")
    }
    guard minP >= 0, minP <= 1 else {
      throw ValidationError("--min-p is \(minP); give a number from 0 to 1.")
    }
    guard samples >= 1 else { throw ValidationError("--samples is \(samples); give at least 1.") }
    if samples > 1, temperature == 0 {
      throw ValidationError(
        "--samples \(samples) would be the same text again and again without --temperature; give "
          + "one above 0, or leave --samples out.")
    }
    guard repeatPenalty > 0, repeatPenalty.isFinite else {
      throw ValidationError("--repeat-penalty is \(repeatPenalty); give a number above 0.")
    }
  }

  /// The seed of a sample, counted from 0.
  func seed(ofSample number: Int) -> UInt64 { seed &+ UInt64(number) }

  /// What they come to for a sample, counted from 0.
  func sampling(ofSample number: Int = 0) -> Sampling {
    var sampling = Sampling()
    sampling.temperature = temperature
    sampling.topK = topK
    sampling.topP = topP
    sampling.minP = minP
    sampling.repeatPenalty = repeatPenalty
    sampling.seed = seed(ofSample: number)
    return sampling
  }
}
