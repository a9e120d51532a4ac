// Search for pages that are read from the disk: browsers start no worker of a file, so its script runs in a frame.
// mkdocs-material's plugin `offline` would fetch such a script from another host, unless one of this name is there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      const script = document.createElement("script")
      script.src = url
      frame.hidden = true
      frame.srcdoc = script.outerHTML
      this.loaded = new Promise((resolve) => {
        frame.addEventListener("load", () => {
          frame.contentWindow.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
          resolve(frame.contentWindow)
        })
      })
      document.body.append(frame)
    }

    async postMessage(data) {
      const inside = await this.loaded
      inside.dispatchEvent(new MessageEvent("message", { data }))
    }
  }
}
