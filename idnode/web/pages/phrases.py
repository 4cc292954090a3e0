"""Every word that a page says by itself, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from idnode.web.pages.language import Language


class Phrase(NamedTuple):
    """One text in both languages."""

    zh: str
    en: str

    def in_language(self, language: Language) -> str:
        return self.zh if language is Language.ZH else self.en


PHRASES: Mapping[str, Phrase] = MappingProxyType(
    {
        "address": Phrase("网址", "Address"),
        "away_advice": Phrase(
            "它的数据保存在另一个标识节点，目前无法取得。请稍后再试。",
            "Its data are kept by another node, which can’t be reached now. Please try again later.",
        ),
        "away_heading": Phrase("暂时无法查询这个标识", "This identifier can’t be looked up now"),
        "away_status": Phrase("节点无应答", "The other node doesn’t answer"),
        "bad_advice": Phrase(
            "标识大多由前缀和后缀组成，中间是一个斜杠，例如：",
            "Most identifiers are a prefix and a suffix with a slash between them, for example:",
        ),
        "bad_heading": Phrase("这不是一个完整的标识", "This isn’t a complete identifier"),
        "bad_status": Phrase("标识格式不正确", "Malformed identifier"),
        "barred_advice": Phrase(
            "登记企业目前被暂停，其标识暂不解析。",
            "The enterprise that registered this identifier is suspended. Until that ends, its identifiers don’t resolve.",
        ),
        "barred_heading": Phrase("这个标识暂不解析", "This identifier doesn’t resolve for now"),
        "barred_status": Phrase("企业已暂停", "Enterprise suspended"),
        "chart_heading": Phrase("范围图", "Ranges"),
        "chart_title": Phrase("各项测量值在制造过程中的范围", "The range of each measured quantity while this product was made"),
        "choice_heading": Phrase("这个标识有多个链接", "This identifier leads to several places"),
        "choice_status": Phrase("请选择", "Please choose"),
        "constant": Phrase("恒定 {value}", "constant {value}"),
        "cycle_heading": Phrase("制造过程数据", "Process data"),
        "cycle_intro": Phrase("制造这件产品时，设备上实际测得的数值。", "Measured on the machine while this product was made."),
        "cycle_none": Phrase("这件产品没有登记过程数据。", "No process data is registered for this product."),
        "delegate": Phrase("数据来源节点", "Kept by the node"),
        "delegate_stale": Phrase("该节点目前无应答，以下为先前的数据。", "It doesn’t answer now; this is what it said before."),
        "description": Phrase("产品标识 {handle} 的登记信息", "What is registered for the product identifier {handle}"),
        "facts_heading": Phrase("登记信息", "Registered facts"),
        "forbidden_advice": Phrase(
            "登记企业没有公开这个标识的数据。如需查看，请联系产品的制造企业。",
            "The enterprise that registered this identifier keeps its data private. To see it, please contact the maker.",
        ),
        "forbidden_heading": Phrase("这个标识的数据不公开", "This identifier’s data isn’t public"),
        "forbidden_status": Phrase("无权查看", "Not permitted"),
        "gateway": Phrase("采集网关", "Gateway"),
        "handle": Phrase("标识", "Identifier"),
        "home_heading": Phrase("查询产品标识", "Look up a product"),
        "home_intro": Phrase(
            "每件产品都有唯一的标识。输入标识，查看它由谁制造、何时制造、在哪台设备上制造。",
            "Every product carries an identifier of its own. Enter it to see who made it, when, and on which machine.",
        ),
        "invisible": Phrase("此标识含有不可见字符，完整写法为", "This identifier contains invisible characters. Spelled out:"),
        "json_link": Phrase("原始数据（JSON）", "Raw data (JSON)"),
        "languages": Phrase("语言", "Language"),
        "last": Phrase("最后", "Last"),
        "legend_range": Phrase("最小至最大", "min to max"),
        "links_heading": Phrase("相关链接", "Links"),
        "legend_scale": Phrase("各行单位不同，按各自范围缩放。", "Each row has its own scale, since units differ."),
        "lookup_another": Phrase("查询其他标识", "Look up another identifier"),
        "lookup_button": Phrase("查询", "Look up"),
        "lookup_example": Phrase("例如", "For example"),
        "lookup_forms": Phrase(
            "商品条码、二维码和扫码枪读出的内容、网址也可以直接输入。",
            "Barcode numbers, whatever a scanner reads, and web addresses will do as well.",
        ),
        "machine": Phrase("制造设备", "Machine"),
        "made_at": Phrase("制造时间", "Made"),
        "maker": Phrase("制造企业", "Maker"),
        "max": Phrase("最大", "Max"),
        "mean": Phrase("平均", "Mean"),
        "min": Phrase("最小", "Min"),
        "missing": Phrase("未记录", "not recorded"),
        "node_kind": Phrase("工业互联网标识解析二级节点", "Industrial Internet identifier resolution node"),
        "not_found_advice": Phrase(
            "请核对是否抄写完整。字母的大小写、数字和标点都有区别。",
            "Please check that it is complete. Capitals, digits and punctuation all matter.",
        ),
        "not_found_heading": Phrase("没有找到这个标识", "No such identifier"),
        "not_found_status": Phrase("未登记", "Not registered"),
        "order": Phrase("订单号", "Order"),
        "other_heading": Phrase("其他登记内容", "Other registered values"),
        "part": Phrase("零件编号", "Part number"),
        "product": Phrase("产品", "Product"),
        "qr_alt": Phrase("本页网址的二维码", "QR code of this page’s address"),
        "qr_caption": Phrase("扫码打开本页", "Scan to open this page"),
        "qr_heading": Phrase("二维码", "QR code"),
        "qr_too_long": Phrase("网址过长，无法生成二维码。", "The address is too long for a QR code."),
        "quantity": Phrase("测量项", "Quantity"),
        "range_unknown": Phrase("范围未记录", "range not recorded"),
        "retired_advice": Phrase(
            "这个标识不会再次使用。如果产品上仍有此标识，请向制造企业核实。",
            "It will never be used again. If a product bears it, please ask the maker.",
        ),
        "retired_heading": Phrase("这个标识已注销", "This identifier has been retired"),
        "retired_status": Phrase("已注销", "Retired"),
        "samples": Phrase("{count} 个样本", "{count} samples"),
        "samples_each": Phrase("每项 {count} 个样本", "{count} samples each"),
        "samples_one": Phrase("1 个样本", "1 sample"),
        "shortened": Phrase("（内容较长，全文见 JSON）", "(shortened; the JSON has the whole text)"),
        "skip": Phrase("跳到正文", "Skip to content"),
        "suspended_advice": Phrase(
            "它以后可能恢复。有疑问请向制造企业核实。", "It may come back. If in doubt, please ask the maker."
        ),
        "suspended_heading": Phrase("这个标识已暂停使用", "This identifier is suspended"),
        "suspended_status": Phrase("已暂停", "Suspended"),
        "table_caption": Phrase("测量值明细", "Measured values"),
        "unavailable_advice": Phrase(
            "本节点的存储暂时没有应答。请过一会儿再试。", "The storage of this node doesn’t answer. Please try again in a while."
        ),
        "unavailable_heading": Phrase("暂时无法查询", "Nothing can be looked up now"),
        "unavailable_status": Phrase("暂时不可用", "Not available"),
        "withdrawn_reason": Phrase("原因", "Reason"),
    }
)


def phrases(language: Language) -> dict[str, str]:
    """The whole table in one language, by key."""
    return {key: phrase.in_language(language) for key, phrase in PHRASES.items()}
