"""What common labels usually mean: a small table, kept as data so that it can be read and argued with.

A label word that is a `name` here brings the words of its entry as evidence, at less weight than the
label's own words. Words are stemmed before they are compared; a phrase of several words is looked for as
it stands. `against` names the entry that a denied word speaks for ("not happy" is no praise).
"""

from typing import Final, NamedTuple


class Entry(NamedTuple):
    names: frozenset[str]
    words: frozenset[str]
    phrases: tuple[str, ...] = ()
    against: str = ""


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


def _entry(names: str, words: str, phrases: tuple[str, ...] = (), against: str = "") -> Entry:
    return Entry(_words(names), _words(words), phrases, against)


ENTRIES: Final[tuple[Entry, ...]] = (
    _entry(
        "billing payment payments invoice invoices finance accounting rechnung facturation facturación",
        """invoice bill billed billing charge charged charges refund payment paid pay price pricing credit
        debit card bank statement vat tax receipt overcharged fee fees rechnung zahlung abgebucht
        erstattung facture paiement remboursement factura pago cobro reembolso
        """,
        ("charged twice", "bank account", "credit note"),
    ),
    _entry(
        "bug bugs defect error errors fault technical technisch fehler incident",
        """error bug crash crashes crashed broken fails failed failure freeze freezes exception stacktrace
        traceback glitch defect fehler absturz kaputt erreur plantage panne fallo averías error reproduce
        regression hangs
        """,
        ("does not work", "doesn't work", "stopped working", "not working", "steps to reproduce", "error code"),
    ),
    _entry(
        "praise compliment thanks kudos positive lob appreciation",
        """thank thanks love loved great wonderful excellent amazing awesome fantastic brilliant perfect happy
        delighted pleased grateful helpful enjoy enjoyed recommend superb danke toll wunderbar großartig merci
        génial excellent parfait gracias genial excelente perfecto good nice best""",
        ("well done", "thank you", "great job", "keep it up"),
        against="negative",
    ),
    _entry(
        "complaint complaints complain negative dissatisfied beschwerde unhappy criticism detractor",
        """complaint complain disappointed disappointing unacceptable terrible awful horrible worst bad
        poor angry frustrated frustrating annoyed annoying unhappy useless rude broken damaged late waste
        hate beschwerde enttäuscht schlecht unzufrieden déçu mauvais inacceptable nul decepcionado malo
        terrible pésimo
        """,
        ("not happy", "not satisfied", "let down", "never again", "waste of time", "fed up"),
        against="positive",
    ),
    _entry(
        "question questions inquiry enquiry frage anfrage request support help",
        """question wonder wondering ask asking explain clarify curious how help frage wissen question
        pregunta
        """,
        ("how do i", "how can i", "how can we", "could you tell", "can you tell", "is it possible", "is there a"),
    ),
    _entry(
        "urgent urgency priority critical emergency high dringend asap blocker",
        """urgent urgently immediately emergency critical asap deadline blocking blocks blocked outage
        down dringend sofort urgence immédiatement urgente inmediatamente
        """,
        ("as soon as possible", "right away", "right now", "production is down"),
    ),
    _entry(
        "spam junk scam phishing",
        """winner lottery prize viagra casino bitcoin crypto click unsubscribe congratulations inheritance
        million guaranteed offer free promo loan
        """,
        ("click here", "act now", "limited time", "you have won", "100% free", "wire transfer", "verify your account"),
    ),
    _entry(
        "cancel cancellation churn terminate kündigung unsubscribe",
        """cancel cancelling cancellation terminate unsubscribe leave leaving churn quit kündigen
        kündigung résilier résiliation cancelar baja
        """,
        ("close my account", "end our contract", "stop my subscription"),
    ),
    _entry(
        "refund return returns reimbursement erstattung",
        "refund reimburse reimbursement return returned chargeback erstattung rückgabe remboursement reembolso",
        ("money back",),
    ),
    _entry(
        "shipping delivery shipment logistics order orders lieferung",
        """delivery deliver delivered ship shipped shipping shipment parcel package courier tracking
        arrive arrived dispatch warehouse order lieferung geliefert paket livraison colis entrega envío
        paquete
        """,
    ),
    _entry(
        "account login access password security auth authentication",
        """login log account password username sign locked reset access authentication authenticate 2fa
        verification passwort anmelden konto compte connexion contraseña cuenta
        """,
        ("log in", "sign in", "locked out", "two-factor"),
    ),
    _entry(
        "feature suggestion idea feedback improvement enhancement wish",
        """feature suggestion suggest wish idea improve improvement add support would roadmap enhancement
        request vorschlag wunsch idee suggestion sugerencia
        """,
        ("it would be", "would be great", "feature request", "i wish", "please add"),
    ),
    _entry(
        "sales quote pricing demo lead purchase",
        "buy purchase quote pricing demo trial offer plan upgrade license licence discount seats angebot devis oferta",
        ("interested in", "price list", "get a quote"),
    ),
    _entry(
        "legal privacy compliance gdpr contract",
        "legal lawyer contract gdpr privacy law court compliance liability clause terms attorney anwalt datenschutz",
    ),
    _entry(
        "job jobs career careers hr hiring recruiting application",
        "job position apply application resume cv vacancy hiring interview salary candidate bewerbung stelle",
    ),
    _entry(
        "sport sports football soccer",
        "match team player goal league season coach championship tournament won scored game stadium cup",
    ),
    _entry(
        "politics government election",
        "government minister election vote parliament president party policy senate law campaign senator",
    ),
    _entry(
        "business economy markets finance",
        "company shares market profit revenue investors bank stocks quarter economy earnings trade ceo merger",
    ),
    _entry(
        "technology tech software science computing",
        "software computer app internet data device phone chip algorithm research scientists startup digital",
    ),
    _entry(
        "health medical medicine healthcare",
        "health patient doctor hospital disease treatment symptoms medicine clinic vaccine nurse therapy",
    ),
)

# Labels that mean "none of the others": chosen when nothing in the text speaks for any label.
CATCH_ALL: Final = _words("""other others none unknown misc miscellaneous general neutral unclear unsure
    uncategorized uncategorised else na sonstiges sonstige andere neutral autre autres otro otros
""")

DENIALS: Final = _words("""not no never without cannot isn't wasn't aren't weren't don't doesn't didn't
    won't can't couldn't wouldn't hardly barely nicht kein keine nie ohne ne pas jamais sans sin nunca
    jamás
""")
