// The page's words. ``tests/browser/test_words.py`` finds what is not in both languages.
export const WORDS = {
  en: {
    lesson: "Lesson", language: "Language", experiment: "The experiment", weather: "Weather", run: "Run", stop: "Stop", seed: "Seed",
    share: "Copy link", save_toml: "Save as scenario", save_pcapng: "Save as pcapng", save_test: "Save as test", save_report: "Save as report page",
    what_happened: "What happened", time: "Time", step_back: "One step back", step_on: "One step on", ladder: "Segments", sockets: "Sockets", queues: "Queues of listeners",
    windows: "Windows and buffers", output: "What programs printed", calls: "Calls, and what each changed", story: "The run as text",
    loading: "Loading Python …", loading_estab: "Loading estab …", ready: "Ready.", running: "Running …", stopped: "Stopped. Python starts again.", done: "Done.",
    failed: "Python could not be loaded: ", unable: "This browser cannot suspend WebAssembly (JSPI), so nothing can run here: Chrome or Edge from version 137 on runs it live.",
    ended: "The run ended at ", ended_badly: "The run ended at {t}, with an error:", refused: "The experiment is refused:",
    host: "Host", state: "State", local: "Local", peer: "Peer", in_flight: "In flight", unread: "Unread", unacked: "Send buffer", cwnd: "cwnd", window: "Peer's window", rto: "RTO",
    half_open: "half-open", accept: "accept", full: "full", no_sockets: "No socket has an address yet.", no_queues: "Nobody listens yet.", nothing: "Nothing yet.",
    code_of: "Program of {host}", delay: "Delay", jitter: "Jitter", loss: "Loss", rate: "Rate", unlimited: "no limit", cut: "Cut {what} now", heal: "Heal {what} now", power_off: "Power off {what} now", power_on: "Power on {what} now",
    lose: "Lose this segment", undo: "Undo", planned: "At {t}: {what}", lost_plan: "At {t}: the segment of {what} is lost", copied: "The link is in the clipboard.", link_is: "The link is in the address bar.",
    sent: "sent", received: "received", never: "never received", why: "Why", fate: "What became of it", header: "Header", step: "The receiver's steps, RFC 9293 section {s}", docs: "RFC 9293",
    check_answer: "Check by running", right: "Right: the run shows it.", wrong: "The run shows something else: ", choose: "Choose an answer first.", none: "Free experiment", call: "Call", result: "Result", changed: "Changed", waits: "waits",
    network: "The network", bad_link: "The link holds no experiment that can be read.",
  },
  zh: {
    lesson: "课程", language: "语言", experiment: "实验", weather: "网络状况", run: "运行", stop: "停止", seed: "随机种子",
    share: "复制链接", save_toml: "存为场景文件", save_pcapng: "存为 pcapng", save_test: "存为测试", save_report: "存为报告页",
    what_happened: "发生了什么", time: "时间", step_back: "后退一步", step_on: "前进一步", ladder: "报文段", sockets: "套接字", queues: "监听套接字的两个队列",
    windows: "窗口与缓冲区", output: "程序的输出", calls: "系统调用及其改变", story: "文字叙述",
    loading: "正在加载 Python……", loading_estab: "正在加载 estab……", ready: "就绪。", running: "正在运行……", stopped: "已停止，Python 正在重新启动。", done: "完成。",
    failed: "无法加载 Python：", unable: "此浏览器不能挂起 WebAssembly（JSPI），因此这里无法运行：请用 Chrome 或 Edge 137 及以上版本。",
    ended: "运行结束于 ", ended_badly: "运行于 {t} 结束，出错：", refused: "实验无法进行：",
    host: "主机", state: "状态", local: "本地", peer: "对端", in_flight: "在途", unread: "未读", unacked: "发送缓冲区", cwnd: "cwnd", window: "对端窗口", rto: "RTO",
    half_open: "半连接队列", accept: "全连接队列", full: "已满", no_sockets: "还没有套接字绑定地址。", no_queues: "还没有程序在监听。", nothing: "还没有。",
    code_of: "{host} 的程序", delay: "时延", jitter: "抖动", loss: "丢包率", rate: "速率", unlimited: "不限", cut: "此刻切断 {what}", heal: "此刻接通 {what}", power_off: "此刻 {what} 断电", power_on: "此刻 {what} 通电",
    lose: "丢弃这个报文段", undo: "撤销", planned: "{t}：{what}", lost_plan: "{t}：{what} 的报文段丢失", copied: "链接已复制到剪贴板。", link_is: "链接在地址栏中。",
    sent: "发送于", received: "到达于", never: "未到达", why: "原因", fate: "结局", header: "首部", step: "接收方的处理步骤，RFC 9293 第 {s} 节", docs: "RFC 9293",
    check_answer: "运行并检验", right: "正确：运行结果如此。", wrong: "运行结果不同：", choose: "请先选择一个答案。", none: "自由实验", call: "调用", result: "结果", changed: "改变", waits: "等待",
    network: "网络", bad_link: "链接中没有可读的实验。",
  },
};
let current = "en";
export const setLanguage = name => { current = name in WORDS ? name : "en"; };
export const language = () => current;
export const word = (name, values = {}) => Object.entries(values).reduce((text, [key, value]) => text.replaceAll(`{${key}}`, value), WORDS[current][name]);
